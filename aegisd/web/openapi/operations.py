"""What may be asked: each path and method, what it takes and what it answers."""

from typing import Any

from aegisd.store.history import NAMED_RANGES
from aegisd.web.answers.parameters import DEFAULT_LIMIT, DEFAULT_RANGE, MAX_LIMIT
from aegisd.web.openapi import schemas
from aegisd.web.openapi.forms import AMOUNT, FLAG, ID, TEXT, TIME, Schema, answer, one_of, record

JSON = "application/json"
Operation = dict[str, Any]


def _query(name: str, schema: Schema, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _in_path(name: str, schema: Schema, description: str) -> dict[str, Any]:
    parameter = {"name": name, "in": "path", "required": True}
    return parameter | {"schema": schema, "description": description}


_SPAN = (
    _query(
        "range",
        one_of(*NAMED_RANGES) | {"default": DEFAULT_RANGE},
        "the time up to now; not together with from",
    ),
    _query("from", {"anyOf": [TIME, AMOUNT]}, "the beginning: RFC 3339, or seconds since 1970"),
    _query("to", {"anyOf": [TIME, AMOUNT]}, "the end; now if it is left out. Needs from"),
)
_SPAN_OF_ALERTS = (
    _query("range", one_of(*NAMED_RANGES), "only those open in this time up to now"),
    *_SPAN[1:],
)
_NODE = _query("node", TEXT | {"minLength": 1}, "only what this daemon wrote")
_LIMIT = _query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    "how many at most",
)
_EXACT = _query("exact", FLAG | {"default": False}, "compute it from raw rows; slow")
_ENDPOINT = (
    _query("method", TEXT, "of the endpoint that the answer is narrowed to; needs path"),
    _query("path", TEXT, "of the endpoint that the answer is narrowed to; needs method"),
)
_ALERT = _in_path("id", ID, "the alert's id")
_SILENCE = _in_path("id", ID, "the silence's id")


def _ok(
    schema: Schema, *, status: int = 200, content_type: str = JSON, other: str | None = None
) -> dict[str, Any]:
    content = {name: {"schema": schema} for name in (content_type, other) if name is not None}
    return {str(status): {"description": "the answer", "content": content}}


def _errors(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _get(
    summary: str, found: dict[str, Any], *parameters: Any, errors: tuple[int, ...] = ()
) -> Operation:
    """A question. Every path may refuse a wrong head, a token, a Host or a crowd."""
    responses = found | _errors(400, 401, *errors, 421, 429, 503)
    return {"summary": summary, "parameters": list(parameters), "responses": responses}


def _history(summary: str, data: Schema, *parameters: Any) -> Operation:
    found = _ok(answer(data, range=schemas.RANGE))
    return _get(summary, found, *_SPAN, _NODE, *parameters)


def _write(
    summary: str, found: dict[str, Any], body: Schema | None, *parameters: Any, errors: Any = ()
) -> Operation:
    """What changes something: for an admin, as JSON, from the same origin."""
    responses = found | _errors(400, 401, 403, *errors, 408, 413, 415, 421, 429, 503)
    operation: Operation = {"summary": summary, "parameters": list(parameters)}
    operation["responses"] = responses
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    return operation


def _open(operation: Operation) -> Operation:
    """One that needs no token."""
    return operation | {"security": []}


def _lasting(summary: str, content_type: str, *parameters: Any, errors: Any = ()) -> Operation:
    found = _ok(TEXT, content_type=content_type)
    unchanged = {"304": {"description": "what If-None-Match names is what there is"}}
    return _open(_get(summary, found | unchanged, *parameters, errors=errors))


OPERATIONS: dict[str, dict[str, Operation]] = {
    "/": {"GET": _lasting("the dashboard", "text/html")},
    "/assets/{name}": {
        "GET": _lasting(
            "a file of the dashboard",
            "text/*",
            _in_path("name", TEXT, "the file's name, folders included"),
            errors=(404,),
        )
    },
    "/openapi.json": {
        "GET": _open(
            _get(
                "this description",
                _ok({"type": "object"})
                | {"304": {"description": "what If-None-Match names is what there is"}},
            )
        )
    },
    "/healthz": {"GET": _open(_get("whether the process runs", _ok(answer(schemas.HEALTH))))},
    "/readyz": {"GET": _open(_get("whether events are accepted", _ok(answer(schemas.READINESS))))},
    "/metrics": {
        "GET": _get(
            "figures for Prometheus, as its text format or as OpenMetrics (by Accept)",
            _ok(TEXT, content_type="text/plain", other="application/openmetrics-text"),
        )
    },
    "/api/session": {
        "GET": _open(_get("who asks", _ok(answer(schemas.SESSION)))),
        "POST": _open(
            _write("log in: a cookie for a token", _ok(answer(schemas.SESSION)), record(token=TEXT))
        ),
        "DELETE": _open(_write("log out", _ok(answer(schemas.SESSION)), None)),
    },
    "/api/ingest": {
        "GET": _get("what came in, and what became of it", _ok(answer(schemas.INGEST)))
    },
    "/api/status": {"GET": _get("how each part does", _ok(answer(schemas.STATUS)))},
    "/api/alerts": {
        "GET": _get(
            "alerts, newest first",
            _ok(answer({"type": "array", "items": schemas.ALERT})),
            _query("status", schemas.ALERT_STATUS, "only those"),
            _LIMIT,
            *_SPAN_OF_ALERTS,
            _query("before", ID, "only those before this alert: the next page"),
        )
    },
    "/api/alerts/{id}": {
        "GET": _get("an alert", _ok(answer(schemas.ALERT)), _ALERT, errors=(404,))
    },
    "/api/alerts/{id}/acknowledge": {
        "POST": _write(
            "somebody cares for it", _ok(answer(schemas.ALERT)), record(), _ALERT, errors=(404, 409)
        )
    },
    "/api/alerts/{id}/resolve": {
        "POST": _write("end it", _ok(answer(schemas.ALERT)), record(), _ALERT, errors=(404, 409))
    },
    "/api/alerts/silences": {
        "GET": _get(
            "silences that have not ended",
            _ok(answer({"type": "array", "items": schemas.SILENCE})),
        ),
        "POST": _write(
            "hold notices back",
            _ok(answer(schemas.SILENCE), status=201),
            schemas.NEW_SILENCE,
            errors=(409,),
        ),
        "DELETE": _write(
            "end a silence",
            _ok(answer(record())),
            None,
            _query("id", ID, "the silence's id") | {"required": True},
            errors=(404,),
        ),
    },
    "/api/alerts/silences/{id}": {
        "DELETE": _write("end a silence", _ok(answer(record())), None, _SILENCE, errors=(404,))
    },
    "/api/metrics/realtime": {
        "GET": _get("this daemon's figures, from memory", _ok(answer(schemas.OVERVIEW)))
    },
    "/api/metrics/backends": {"GET": _get("backends, from memory", _ok(answer(schemas.BACKENDS)))},
    "/api/metrics/overview": {"GET": _history("the figures of a range", schemas.OVERVIEW, _EXACT)},
    "/api/metrics/request-rate": {
        "GET": _history("requests over time", schemas.REQUEST_RATE, *_ENDPOINT)
    },
    "/api/metrics/latency": {
        "GET": _history("latencies over time, in ms", schemas.LATENCY, *_ENDPOINT, _EXACT)
    },
    "/api/metrics/status-distribution": {
        "GET": _history("statuses over time", schemas.STATUSES, *_ENDPOINT)
    },
    "/api/metrics/heatmap": {
        "GET": _history("how many requests took how long", schemas.HEAT_MAP, *_ENDPOINT)
    },
    "/api/metrics/nodes": {"GET": _history("the daemons that wrote", schemas.NODES)},
    "/api/metrics/top-endpoints": {
        "GET": _history("the endpoints with most requests", schemas.ENDPOINTS, _LIMIT)
    },
    "/api/metrics/rate-limits": {
        "GET": _history("rate-limit decisions, and keys", schemas.RATE_LIMITS, _LIMIT)
    },
}
