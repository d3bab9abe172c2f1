"""The conformance vectors, as docs/wire.md describes them."""

import json
from pathlib import Path
from typing import Any

from aegisd.events.protocol import KINDS

FILE = Path(__file__).parent / "wire/vectors.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text())
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]

KEPT_AS = {
    "timestamp": "timestamp_us",
    "duration_ms": "duration_us",
    "response_time_ms": "response_time_us",
}
"""Fields whose unit differs from the wire's: kept, and told by the vectors, in microseconds."""


def message(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["message"])


def row(event: dict[str, Any], arrival: int) -> dict[str, Any]:
    """An expected event with every field of its kind; ``arrival`` in microseconds since 1970."""
    names = [field.name for field in KINDS[event["kind"]]]
    made = {name: event.get(KEPT_AS.get(name, name)) for name in names}
    if made["timestamp"] is None:
        made["timestamp"] = arrival
    return {"kind": event["kind"]} | made
