"""Messages in all forms, most of them good: mutants are made of them."""

import json
import struct
from pathlib import Path
from typing import Any

import msgpack

VECTORS = Path(__file__).parent.parent / "wire/vectors.json"

NAN = float("nan")


def seeds(now: float) -> list[bytes]:
    """Messages of every kind and form, stamped around ``now`` (seconds since 1970)."""
    events = _events(now)
    values: list[Any] = [*events, events, events[:2], [events[0]] * 20, []]
    values += [{"events": events[:3]}, {"source": "s", "seq": 7}, {"events": [], "source": "s"}]
    values += [
        {"v": 1, "kind": kind, "source": f"gw-{kind}", "seq": i * 5, "events": [events[i]] * 5}
        for i, kind in enumerate(["request", "rate_limit", "backend", "system"])
    ]
    values += [events[0] | {"source": "gw", "seq": 3}, {"x": {"y": [1, {"z": None}]}} | events[0]]
    values += _tables(now)
    return [*map(msgpack.packb, values), *_odd(now), *_vectors()]


def _events(now: float) -> list[dict[str, Any]]:
    request = {"method": "GET", "path": "/", "status_code": 200}
    full = {
        "method": "POST",
        "path": "/api/users/4711?x=1",
        "statusCode": 503,
        "durationMs": 12.25,
        "timestamp": now - 1.5,
        "route": "/api/users/:id",
        "backend": "users",
        "clientIp": "192.0.2.7",
        "errorMessage": "upstream said no",
    }
    return [
        request,
        {"kind": "rate_limit", "key": "k", "allowed": True, "remaining": 5, "limit": -1},
        {
            "kind": "backend",
            "backend_name": "b",
            "status": "healthy",
            "responseTimeMs": 3,
            "circuit_breaker": "half_open",
        },
        {
            "kind": "system",
            "active_connections": 7,
            "cpu_percent": 99.5,
            "memory_bytes": 2**33,
            "open_files": 70_000,
            "source": "own",
            "timestamp": int(now),
        },
        full,
        full | {"kind": "request", "timestamp": round(now * 1000), "route": None},
        request | {"timestamp": msgpack.Timestamp.from_unix(now), "duration_ms": 2**40},
        request | {"path": "/" + "ä" * 1100, "method": "\0" * 17},
        request | {"path": "/" + "long" * 20, "backend": "b" * 40, "client_ip": "c" * 70},
    ]


def _tables(now: float) -> list[dict[str, Any]]:
    """``columns`` messages: every field in every form it may come in."""
    coded = {"values": ["GET", "POST", None], "index": bytes([0, 1, 1])}
    requests = {
        "method": coded,
        "path": ["/", "/a", "/b"],
        "status_code": struct.pack("<3H", 200, 404, 999),
        "duration_ms": struct.pack("<3f", 1.5, NAN, 0),
        "timestamp": struct.pack("<3d", now, now - 1, now - 2),
        "backend": "one",
        "client_ip": {"values": ["::1"], "index": struct.pack("<3I", 0, 0, 0)},
        "route": {"values": ["/", "/:x"], "index": struct.pack("<3H", 0, 1, 0)},
        "error_message": [None, "e", None],
    }
    limits = {
        "key": ["a", "b"],
        "allowed": [True, False],
        "remaining": struct.pack("<2i", -1, 5),
        "limit": struct.pack("<2q", -(2**63) + 1, 2**63 - 1),
    }
    system = {
        "activeConnections": [1, 2],
        "cpuPercent": struct.pack("<2d", 0.5, NAN),
        "memoryBytes": struct.pack("<2q", 0, 2**40),
        "openFiles": 5,
    }
    backends = {
        "backend_name": {"values": ["b", "c"], "index": b"\x01\x00"},
        "status": {"values": ["healthy", "unhealthy"], "index": b"\x01\x00"},
        "response_time_ms": struct.pack("<2d", 0.001, 1e6),
        "circuit_breaker": "open",
    }
    return [
        {"v": 1, "source": "s", "seq": 9, "n": 3, "columns": requests},
        {"kind": "rate_limit", "n": 2, "columns": limits},
        {"kind": "system", "source": "gw", "n": 2, "columns": system},
        {"n": 2, "columns": backends | {"kind": "backend"}},
        {"n": 900, "columns": {"method": "GET", "path": "/constant", "status_code": 200}},
        {"n": 0, "columns": {"method": [], "path": [], "status_code": b""}},
    ]


def _odd(now: float) -> list[bytes]:
    """Forms that packers don't choose, but may."""
    start = b"\xa6method\xa3GET\xa4path\xa1/\xabstatus_code"
    at = b"\xa9timestamp"
    return [
        b"\x83" + start + b"\xd3" + struct.pack(">q", 200),
        b"\xde\x00\x03" + start + b"\xcd\x00\xc8",
        b"\xdf\x00\x00\x00\x03" + start + b"\xd1\x00\xc8",
        b"\xdd\x00\x00\x00\x01\x83" + start + b"\xcc\xc8",
        b"\x84" + start + b"\xcc\xc8" + at + b"\xca" + struct.pack(">f", now),
        b"\x84" + start + b"\xcc\xc8" + at + b"\xd6\xff" + struct.pack(">I", int(now)),
        b"\x84" + start + b"\xcc\xc8" + at + b"\xc7\x0c\xff" + struct.pack(">Iq", 5, int(now)),
        b"\x83\xd9\x06" + start[1:] + b"\xcc\xc8",
        b"\x83\xa6method\xda\x00\x03GET\xa4path\xdb\x00\x00\x00\x01/\xabstatus_code\xcc\xc8",
        b"\x83" + start.replace(b"GET", b"G\xffT") + b"\xcc\xc8",
    ]


def _vectors() -> list[bytes]:
    if not VECTORS.exists():
        return []
    return [bytes.fromhex(v["message"]) for v in json.loads(VECTORS.read_text())["vectors"]]
