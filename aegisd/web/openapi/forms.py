"""Forms of JSON (JSON Schema) that the description is made of."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
AMOUNT: Schema = {"type": "number", "minimum": 0}
PERCENT: Schema = {"type": "number", "minimum": 0, "maximum": 100}
TIME: Schema = {"type": "string", "format": "date-time"}
ID: Schema = {"type": "string", "format": "uuid"}


def record(optional: dict[str, Schema] | None = None, **properties: Schema) -> Schema:
    """An object with exactly these keys; ``optional`` ones may be missing."""
    return {
        "type": "object",
        "properties": properties | (optional or {}),
        "required": list(properties),
        "additionalProperties": False,
    }


def items(schema: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": schema}


def table(values: Schema) -> Schema:
    """An object with any keys."""
    return {"type": "object", "additionalProperties": values}


def one_of(*values: str) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": list(values)}


def nullable(schema: Schema) -> Schema:
    """The schema's values, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def answer(data: Schema, **beside: Schema) -> Schema:
    """The envelope of a success."""
    return record(success={"const": True}, data=data, **beside)


ERROR = record(success={"const": False}, error=record(code=TEXT, message=TEXT))
"""The envelope of an error."""
