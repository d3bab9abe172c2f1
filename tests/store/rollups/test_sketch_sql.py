"""Sketches in Postgres: added up by sum(), read by the functions of the schema."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sketches import sketch_of
from stats.test_sketch import DISTRIBUTIONS, of, stored
from stats.test_stored_sketches import GOLDEN, Golden
from store.cluster import bounded
from store.databases import database

from aegisd.stats import sketch
from aegisd.store import schema
from aegisd.store.database.postgres import Postgres, Session

SHARES = (0.01, 0.5, 0.55, 0.9, 0.95, 0.99, 0.999, 1.0)
LAST = sketch.BINS - 1
MIGRATIONS = Path(schema.__file__).with_name("migrations")
RNG = np.random.default_rng(7460)

EDGES = {
    "none": {},
    "zero's": {0: 3},
    "the last": {LAST: 1},
    "first and last": {0: 1, LAST: 1},
    "full": {0: sketch.MAX_COUNT, 1: sketch.MAX_COUNT, LAST: sketch.MAX_COUNT},
    "zeros at the end of counts": {0: 10**4, 5: 10**8, 6: 10**11, 700: 120_000},
    "a million": dict.fromkeys(range(LAST), 700),
}


@pytest.fixture
async def postgres(dsn: str) -> AsyncIterator[Postgres]:
    async with database(dsn) as opened:
        await opened.prepare()
        yield opened


async def value(postgres: Postgres, sql: str, *args: Any) -> Any:
    ((found,),) = await postgres.fetch(sql, *args)
    return found


def random_sketches(count: int) -> list[NDArray[np.int64]]:
    made = [of(counts) for counts in EDGES.values() if max(counts.values(), default=0) < 10**11]
    for _ in range(count):
        size = int(RNG.integers(0, 60))
        bins = RNG.integers(0, sketch.BINS, size)
        made.append(
            of(dict(zip(bins.tolist(), RNG.integers(1, 10**9, size).tolist(), strict=True)))
        )
    return made


@bounded
async def test_postgres_returns_a_sketch_unchanged(postgres: Postgres) -> None:
    for name, counts in EDGES.items():
        (numeric,) = stored(of(counts))
        back = await value(postgres, "SELECT $1::numeric", numeric)
        assert (sketch.decode_each([back]) == of(counts)).all(), name
        again = await value(postgres, "SELECT ($1::numeric)::text::numeric", numeric)
        assert again == back, name


@bounded
async def test_sum_in_sql_merges_sketches(postgres: Postgres) -> None:
    for count in (1, 2, 50):
        sketches = random_sketches(count)
        for function in ("sum", "sketch_merge"):
            merged = await value(
                postgres, f"SELECT {function}(s) FROM unnest($1::numeric[]) s", stored(*sketches)
            )
            assert (sketch.decode_each([merged]) == np.sum(sketches, axis=0)).all()


@bounded
async def test_parallel_workers_merge_the_same(postgres: Postgres) -> None:
    sketches = random_sketches(300)
    await postgres.execute("CREATE TABLE many (s numeric) WITH (parallel_workers = 4)")
    await postgres.execute("INSERT INTO many SELECT unnest($1::numeric[])", stored(*sketches))
    settings = (
        "SELECT set_config('max_parallel_workers_per_gather', '4', true),"
        " set_config('parallel_setup_cost', '0', true),"
        " set_config('parallel_tuple_cost', '0', true),"
        " set_config('min_parallel_table_scan_size', '0', true)"
    )

    async def work(session: Session) -> tuple[str, list[bytes]]:
        await session.fetch(settings)
        plan = await session.fetch("EXPLAIN SELECT sketch_merge(s) FROM many")
        merged = [await session.fetch(f"SELECT {f}(s) FROM many") for f in ("sum", "sketch_merge")]
        return str(plan), [numeric for ((numeric,),) in merged]

    plan, merged = await postgres.read(work)
    assert "Partial Aggregate" in plan
    for numeric in merged:
        assert (sketch.decode_each([numeric]) == np.sum(sketches, axis=0)).all()


@bounded
async def test_count_above_its_digits_overflows_into_the_next_bin(postgres: Postgres) -> None:
    """What MAX_COUNT is for: history never adds more than a day at once."""
    (full,) = stored(of({5: sketch.MAX_COUNT}))
    (one,) = stored(of({5: 1}))
    over = await value(postgres, "SELECT sum(s) FROM unnest($1::numeric[]) s", [full, one])
    assert np.flatnonzero(sketch.decode_each([over])).tolist() == [6]


@bounded
async def test_bins_are_shown_with_their_counts_and_bounds(postgres: Postgres) -> None:
    for name, counts in EDGES.items():
        (numeric,) = stored(of(counts))
        rows = await postgres.fetch(
            "SELECT bin, count, up_to_ms FROM sketch_bins($1::numeric) ORDER BY bin", numeric
        )
        assert [row[:2] for row in rows] == sorted(counts.items()), name
        for bin_, _, up_to in rows:
            bound = 0 if bin_ == 0 else (101 / 99) ** (bin_ - 1) / 1000
            assert up_to == pytest.approx(bound, rel=1e-9)


async def quantiles(postgres: Postgres, counts: NDArray[np.int64]) -> list[float | None]:
    """From SQL, in microseconds."""
    (numeric,) = stored(counts)
    found: list[float | None] = await value(
        postgres, "SELECT sketch_quantiles($1::numeric, $2::float8[])", numeric, list(SHARES)
    )
    one = await value(postgres, "SELECT sketch_quantile($1::numeric, 0.95)", numeric)
    assert one == found[SHARES.index(0.95)]
    return [None if millis is None else millis * 1000 for millis in found]


@bounded
async def test_quantiles_in_sql_are_those_in_python(postgres: Postgres) -> None:
    made = [of(counts) for name, counts in EDGES.items()] + random_sketches(30)
    made += [np.bincount([700], minlength=sketch.BINS) * n for n in range(1, 41)]
    for counts in made:
        expected = sketch.quantiles(counts, SHARES)
        found = await quantiles(postgres, counts)
        assert found == [e if e is None else pytest.approx(e, rel=1e-9) for e in expected]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@bounded
async def test_quantiles_are_within_one_percent_of_percentile_disc(
    postgres: Postgres, name: str
) -> None:
    for size in (1, 20, 9999):
        values = DISTRIBUTIONS[name](size)
        exact = await value(
            postgres,
            "SELECT percentile_disc($2::float8[]) WITHIN GROUP (ORDER BY v)"
            " FROM unnest($1::bigint[]) v",
            values.tolist(),
            list(SHARES),
        )
        found = await quantiles(postgres, sketch_of(values))
        assert found == [pytest.approx(e, rel=0.01 * (1 + 1e-9), abs=0) for e in exact]


@bounded
async def test_missing_or_empty_sketch_has_no_quantiles_in_sql(postgres: Postgres) -> None:
    assert await value(postgres, "SELECT sketch_quantiles(NULL, '{0.5}')") is None
    assert await value(postgres, "SELECT sketch_quantile(0, 0.5)") is None
    assert await value(postgres, "SELECT sum(NULL::numeric)") is None
    assert await value(postgres, "SELECT sketch_merge(s) FROM unnest('{}'::numeric[]) s") is None
    assert await postgres.fetch("SELECT * FROM sketch_bins(0)") == []


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
@bounded
async def test_stored_bytes_mean_the_same_to_postgres(postgres: Postgres, golden: Golden) -> None:
    """What the functions of the migrations make of literals that are pinned."""
    assert await value(postgres, "SELECT ($1::numeric)::text", golden.octets) == golden.text
    parsed = await value(postgres, "SELECT $1::text::numeric", golden.text)
    assert (sketch.decode_each([parsed]) == [golden.counts]).all()
    bins = await postgres.fetch(
        "SELECT bin, count, up_to_ms FROM sketch_bins($1::text::numeric) ORDER BY bin", golden.text
    )
    assert [row[:2] for row in bins] == [*golden.bins.items()]
    for bin_, _, up_to in bins:
        assert up_to == pytest.approx(golden.up_to_ms[bin_], rel=1e-12)
    for share, millis in golden.quantiles_ms.items():
        found = await value(
            postgres,
            "SELECT sketch_quantile($1::text::numeric, $2::float8)",
            golden.text,
            share,
        )
        assert found == (None if millis is None else pytest.approx(millis, rel=1e-12)), share


def test_functions_of_the_migrations_have_the_sketch_s_constants() -> None:
    sql = "\n".join(file.read_text() for file in sorted(MIGRATIONS.glob("*.sql")))
    gammas = re.findall(r"1\.01::float8 / 0\.99", sql)
    assert len(gammas) == 2  # sketch_bins, sketch_quantiles
    assert sketch.GAMMA == 1.01 / 0.99
    assert len(str(sketch.MAX_COUNT)) == 12
    widths = {int(n) for n in re.findall(r"\+ 11\) / (\d+) \* \d+", sql)}
    assert widths == {12}
    assert "INSERT INTO sketch_formats VALUES (1, 0.01, 1.01 / 0.99, 12);" in sql


@bounded
async def test_table_sketch_formats_has_the_sketch_s_constants(postgres: Postgres) -> None:
    formats = await postgres.fetch(
        "SELECT format, relative_accuracy, gamma, digits FROM sketch_formats"
    )
    ((format_, accuracy, gamma, digits),) = formats
    assert (format_, accuracy) == (sketch.FORMAT, sketch.RELATIVE_ACCURACY)
    assert gamma == pytest.approx(sketch.GAMMA, rel=1e-15)
    assert 10**digits - 1 == sketch.MAX_COUNT
