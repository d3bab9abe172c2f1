"""Rows have exactly the values of their block, for each kind, in the columns of the migrations."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from store.cluster import bounded
from store.databases import DAY, NODE, NOON, ask, block, database, write

from aegisd.errors import DataRefused
from aegisd.store.database import Move, Postgres
from aegisd.store.schema import RAW
from aegisd.store.write.rows import TABLES, table_rows

HARD_TEXTS = [
    "",
    " ",
    "\\N",
    "\\.",
    "a\\b\\\\c",
    'it\'s "quoted"; DROP TABLE request_metrics; --',
    "tab\tnewline\nreturn\rbell\x07",
    "é 漢字 \U0001f680 e\u0301 \u202e \ufeff",
    "\x01\x7f\x80\ufffd",
    "x" * 2048,
]
BIGGEST = 2**63 - 1
MICRO = '(extract(epoch FROM "timestamp") * 1000000)::bigint'


@bounded
async def test_columns_are_those_of_a_migrated_database(dsn: str) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
    catalogue = await ask(
        dsn,
        "SELECT attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod),"
        " NOT attnotnull FROM pg_attribute"
        " WHERE attrelid = ANY ($1::regclass[]) AND attnum > 0 AND NOT attisdropped",
        list(RAW),
    )
    assert sorted(catalogue) == sorted(
        (table.name, column.name, column.type, column.nullable)
        for table in TABLES.values()
        for column in table.columns
    )


async def stored(dsn: str, table: str, columns: str) -> list[tuple[Any, ...]]:
    """Rows in the order they were written."""
    return await ask(dsn, f"SELECT {MICRO}, {columns} FROM {table} ORDER BY tableoid, ctid")


@bounded
async def test_request_columns_are_stored_exactly(dsn: str) -> None:
    events = [
        {
            "timestamp": NOON + i,
            "method": "GET" if i % 2 else "PURGE",
            "path": text,
            "endpoint": text + "/{id}",
            "status_code": status,
            "duration_us": duration,
            "backend": text if i % 3 else None,
            "client_ip": "2001:db8::1" if i % 2 else None,
            "error_message": None if i % 4 else text,
        }
        for i, (text, status, duration) in enumerate(
            zip(
                HARD_TEXTS,
                [0, 1, 101, 200, 304, 404, 429, 500, 600, 999],
                [0, 1, 999, 1000, 1_234_567, 31 * DAY // 1000 * 1000, 3, 7, 333_333, 10**9 + 1],
                strict=True,
            )
        )
    ] + [{"timestamp": NOON + 10}]
    async with database(dsn) as postgres:
        await write(postgres, block("request", events))
    columns = (
        "method, path, endpoint, status_code, duration_ms, backend, client_ip, error_message,"
        " node, weight"
    )
    expected = [
        (
            *(e[name] for name in ("timestamp", "method", "path", "endpoint", "status_code")),
            e["duration_us"] / 1000,
            *(e[name] for name in ("backend", "client_ip", "error_message")),
            NODE,
            1.0,
        )
        for e in events[:-1]
    ]
    last = (NOON + 10, "GET", "/", "/", 200, None, None, None, None, NODE, 1.0)
    assert await stored(dsn, "request_metrics", columns) == [*expected, last]


@bounded
async def test_rate_limit_columns_are_stored_exactly(dsn: str) -> None:
    events = [
        {"key": text, "allowed": i % 2 == 0, "remaining": remaining, "limit": BIGGEST}
        for i, (text, remaining) in enumerate(
            zip(HARD_TEXTS[:4], [0, -1, BIGGEST, -BIGGEST], strict=True)
        )
    ] + [{"key": "bare", "allowed": False}]
    async with database(dsn) as postgres:
        await write(postgres, block("rate_limit", events))
    assert await stored(dsn, "rate_limit_metrics", 'key, allowed, remaining, "limit", node') == [
        (NOON, e["key"], e["allowed"], e.get("remaining"), e.get("limit"), NODE) for e in events
    ]


@bounded
async def test_backend_columns_are_stored_exactly(dsn: str) -> None:
    events = [
        {
            "backend_name": HARD_TEXTS[7],
            "status": "unhealthy",
            "response_time_us": 1_500,
            "circuit_breaker": "half_open",
        },
        {"backend_name": "b", "status": "healthy"},
    ]
    async with database(dsn) as postgres:
        await write(postgres, block("backend", events))
    columns = "backend_name, status, response_time_ms, circuit_breaker, node"
    assert await stored(dsn, "backend_metrics", columns) == [
        (NOON, HARD_TEXTS[7], "unhealthy", 1.5, "half_open", NODE),
        (NOON, "b", "healthy", None, None, NODE),
    ]


@bounded
async def test_system_columns_are_stored_exactly(dsn: str) -> None:
    events = [
        {
            "source": HARD_TEXTS[5],
            "active_connections": BIGGEST,
            "cpu_percent": 99.9,
            "memory_bytes": BIGGEST,
            "open_files": 0,
        },
        {"active_connections": 0, "cpu_percent": 0.0},
        {},
    ]
    async with database(dsn) as postgres:
        await write(postgres, block("system", events))
    columns = "source, active_connections, cpu_percent, memory_bytes, open_files, node"
    assert await stored(dsn, "system_metrics", columns) == [
        (NOON, HARD_TEXTS[5], BIGGEST, float(np.float32(99.9)), BIGGEST, 0, NODE),
        (NOON, None, 0, 0.0, None, None, NODE),
        (NOON, None, 1, None, None, None, NODE),
    ]


@bounded
async def test_refused_row_of_one_table_leaves_all_tables_unwritten(dsn: str) -> None:
    async with database(dsn) as postgres:
        with pytest.raises(DataRefused):
            await write(postgres, block("system", [{}]), block("rate_limit", [{"key": "a\0b"}]))
    for table in ("system_metrics", "rate_limit_metrics"):
        assert await ask(dsn, f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"path": "a\0b"}, id="NUL"),
        pytest.param({"path": "a\ud800b"}, id="half a surrogate pair"),
    ],
)
@bounded
async def test_text_that_postgres_cannot_hold_is_refused_and_writing_goes_on(
    dsn: str, event: dict[str, Any]
) -> None:
    async with database(dsn) as postgres:
        with pytest.raises(DataRefused):
            await write(postgres, block("request", [{}, event]))
        await still_writes(postgres)


@bounded
async def test_number_too_large_for_its_column_is_refused_and_writing_goes_on(dsn: str) -> None:
    whole = block("request", [{}])
    whole.numbers["status_code"] = np.array([40_000])
    async with database(dsn) as postgres:
        with pytest.raises(DataRefused):
            await postgres.write([table_rows(whole, NODE)], Move(uuid4(), NODE, 0, 1))
        await still_writes(postgres)


async def still_writes(postgres: Postgres) -> None:
    await write(postgres, block("request", [{}]))
    assert await postgres.fetch("SELECT count(*) FROM request_metrics") == [(1,)]
