"""Partitions by UTC day: made when rows need them, by any number of writers."""

from pathlib import Path

import asyncpg
import pytest
import trio
import trio_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from store.cluster import bounded
from store.databases import DAY, NOON, ask, block, database, database_name, requests, write
from structlog.testing import capture_logs
from support import WHERE_TABLES_ARE

from aegisd.store.embedded import server
from aegisd.store.embedded.cluster import embedded_postgres
from aegisd.store.schema import PARTITIONED, RAW, Partition

WHERE = "SELECT tableoid::regclass::text, count(*) FROM {} GROUP BY 1 ORDER BY 1"
NEW_YEAR = 20_089 * DAY  # 2025-01-01


@bounded
async def test_rows_land_in_the_partition_of_their_utc_day(dsn: str) -> None:
    moments = [NEW_YEAR - 1, NEW_YEAR, NEW_YEAR + DAY - 1, NEW_YEAR + DAY, NOON]
    await ask(dsn, f"ALTER DATABASE {database_name(dsn)} SET timezone = 'Pacific/Auckland'")
    async with database(dsn) as postgres:
        await write(postgres, block("request", [{"timestamp": m} for m in moments]))
    assert await ask(dsn, WHERE.format("request_metrics")) == [
        ("request_metrics_20241004", 1),
        ("request_metrics_20241231", 1),
        ("request_metrics_20250101", 2),
        ("request_metrics_20250102", 1),
    ]


@bounded
async def test_each_kind_of_event_gets_its_partition(dsn: str) -> None:
    async with database(dsn) as postgres:
        kinds = ("request", "rate_limit", "backend", "system")
        await write(postgres, *(block(kind, [{}]) for kind in kinds))
        assert [partition.name for partition in await postgres.partitions()] == sorted(
            f"{table}_20241004" for table in RAW
        )


@bounded
async def test_late_event_lands_in_its_own_day(dsn: str) -> None:
    async with database(dsn) as postgres:
        await write(postgres, requests(timestamp=NOON))
        await write(postgres, requests(timestamp=NOON - 30 * DAY))
        await write(postgres, requests(timestamp=NOON))
    assert await ask(dsn, WHERE.format("request_metrics")) == [
        ("request_metrics_20240904", 1),
        ("request_metrics_20241004", 2),
    ]


@bounded
async def test_dropped_partition_is_made_again(dsn: str) -> None:
    async with database(dsn) as postgres:
        await write(postgres, requests())
        await ask(dsn, "DROP TABLE request_metrics_20241004")
        await write(postgres, requests())
    assert await ask(dsn, WHERE.format("request_metrics")) == [("request_metrics_20241004", 1)]


@bounded
async def test_partition_that_could_not_be_made_is_made_for_the_next_batch_when_it_can_be(
    dsn: str,
) -> None:
    async with database(dsn) as postgres:
        await postgres.prepare()
        await ask(dsn, "CREATE TYPE request_metrics_20241004 AS ENUM ()")
        with capture_logs() as logs:
            for _ in range(3):
                await write(postgres, requests())
        assert [line["partition"] for line in logs if "partition" in line] == [
            "request_metrics_20241004"
        ]
        assert await ask(dsn, "SELECT count(*) FROM request_metrics") == [(0,)]
        await ask(dsn, "DROP TYPE request_metrics_20241004")
        await write(postgres, requests())
    assert await ask(dsn, WHERE.format("request_metrics")) == [("request_metrics_20241004", 1)]


@bounded
async def test_detached_partition_is_not_dropped(dsn: str) -> None:
    async with database(dsn) as postgres:
        await write(postgres, requests())
        (partition,) = [p for p in await postgres.partitions() if p.table == "request_metrics"]
        await ask(dsn, f"ALTER TABLE request_metrics DETACH PARTITION {partition.name}")
        assert await postgres.drop_partition(partition)
    assert await ask(dsn, f"SELECT count(*) FROM {partition.name}") == [(1,)]


@bounded
async def test_partition_has_the_index_of_its_table(dsn: str) -> None:
    async with database(dsn) as postgres:
        await write(postgres, requests())
    (index,) = await ask(
        dsn, "SELECT indexdef FROM pg_indexes WHERE tablename = 'request_metrics_20241004'"
    )
    assert 'USING brin ("timestamp")' in index[0]


@bounded
async def test_new_partition_waits_for_no_open_transaction_that_writes(dsn: str) -> None:
    async with database(dsn) as postgres, trio_asyncio.open_loop():
        await write(postgres, requests())
        other = await trio_asyncio.aio_as_trio(asyncpg.connect)(
            dsn, server_settings=WHERE_TABLES_ARE
        )
        await trio_asyncio.aio_as_trio(other.execute)(
            "BEGIN; INSERT INTO request_metrics VALUES"
            " ('2024-10-04', 'GET', '/', '/', 200, 1, NULL, NULL, NULL, 'other', 1)"
        )
        await write(postgres, requests(timestamp=NOON + DAY))
        other.terminate()
    assert await ask(dsn, WHERE.format("request_metrics")) == [
        ("request_metrics_20241004", 1),
        ("request_metrics_20241005", 1),
    ]


@bounded
async def test_twenty_writers_make_the_same_partitions_at_once(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.SETTINGS, "max_connections", "40")
    days = block("request", [{"timestamp": NOON + day * DAY} for day in range(3)])

    async def write_to(dsn: str) -> None:
        async with database(dsn) as postgres:
            await write(postgres, days, block("system", [{}]))

    async with embedded_postgres(state) as dsn:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(write_to, dsn)
        assert await ask(dsn, WHERE.format("request_metrics")) == [
            ("request_metrics_20241004", 20),
            ("request_metrics_20241005", 20),
            ("request_metrics_20241006", 20),
        ]
        assert await ask(dsn, WHERE.format("system_metrics")) == [("system_metrics_20241004", 20)]


@settings(deadline=None)
@given(st.sampled_from(sorted(PARTITIONED)), st.integers(0, 100_000))
def test_name_of_a_partition_parses_to_the_same_partition(table: str, day: int) -> None:
    partition = Partition.of(table, day)
    assert partition.day <= day < partition.end
    assert Partition.parse(partition.name) == partition


@pytest.mark.parametrize(
    "name",
    [
        "request_metrics",
        "request_metrics_2024",
        "request_metrics_20241301",
        "request_metrics_20241004_old",
        "old_request_metrics_20241004",
        "orders_20241004",
    ],
)
def test_other_names_parse_to_none(name: str) -> None:
    assert Partition.parse(name) is None
