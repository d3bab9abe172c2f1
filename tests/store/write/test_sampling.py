"""Which requests are stored, and that their weights add up to the true counts."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.cluster import bounded
from store.databases import NODE, NOON, ask, block, database, history_of, storage_in

from aegisd.config.settings import Sampling, Share
from aegisd.events.block import Block, Text
from aegisd.events.units import SECOND_US
from aegisd.live.state import LiveState
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.postgres import Postgres
from aegisd.store.history.exact import ExactHistory
from aegisd.store.history.ranges import Range
from aegisd.store.write import writer as writer_module
from aegisd.store.write.sampling import Sampler, draws

RATES = [1e-6, 0.001, 0.1, 0.3, 1 / 3, 0.5, 0.9, 1 - 2**-20]


def numbered(count: int, status: int = 200) -> Block:
    """Requests with their numbers as microseconds and as paths."""
    return block(
        "request",
        [{"timestamp": NOON + i, "path": f"/{i}", "status_code": status} for i in range(count)],
    )


def part(whole: Block, start: int, end: int) -> Block:
    rows = np.zeros(whole.size, np.bool_)
    rows[start:end] = True
    return whole.take(rows)


def rows(sampled: Block) -> list[tuple[int, str | None, float]]:
    """Number, path and weight of each request."""
    numbers = (sampled.numbers["timestamp"] - NOON).tolist()
    return list(
        zip(numbers, sampled.texts["path"].rows(), sampled.numbers["weight"].tolist(), strict=True)
    )


def splitmix64(number: int) -> int:
    mask = 2**64 - 1
    z = (number + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def test_draws_are_splitmix64s_published_values() -> None:
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert draws(0, 4).tolist() == published


@given(st.integers(0, 2**63), st.integers(0, 50))
def test_draw_depends_on_its_number_alone(first: int, count: int) -> None:
    assert draws(first, count).tolist() == [splitmix64(first + i) for i in range(count)]


@pytest.mark.parametrize("rate", RATES)
def test_weight_is_the_reciprocal_of_the_share_and_fits_a_real(rate: float) -> None:
    sampler = Sampler(rate)
    assert sampler.weight == float(np.float32(sampler.weight)) == pytest.approx(1 / rate, rel=1e-7)
    share = (int(sampler._last) + 1) / 2**64
    assert share * sampler.weight == pytest.approx(1, rel=1e-12)


def test_rate_one_stores_all_with_weight_one() -> None:
    assert rows(Sampler(1.0).sample(numbered(1000), 0)) == [(i, f"/{i}", 1) for i in range(1000)]


def test_each_failure_as_live_figures_count_it_is_stored_with_weight_one() -> None:
    every = block("request", [{"status_code": status} for status in range(1000)])
    live = LiveState(1, NOON / SECOND_US, 0.0)
    live.apply(every)
    sampled = Sampler(1e-6).sample(every, 0)
    stored = sampled.numbers["status_code"].tolist()
    assert stored == [0, *range(400, 1000)]
    assert len(stored) == live.top_endpoints(1)[0].failed
    assert set(sampled.numbers["weight"].tolist()) == {1.0}


cuts = st.lists(st.integers(0, 200), max_size=8)
statuses = st.lists(st.sampled_from([200, 304, 404, 429, 500]), min_size=200, max_size=200)


@given(cuts, statuses, st.integers(0, 2**40), st.sampled_from(RATES))
def test_sampled_rows_are_the_same_however_blocks_are_cut(
    held: list[int], codes: list[int], first: int, rate: float
) -> None:
    whole = numbered(200)
    whole.numbers["status_code"][:] = codes
    sampler = Sampler(rate)
    edges = [0, *sorted(held), 200]
    parts = [
        row
        for start, end in pairwise(edges)
        for row in rows(sampler.sample(part(whole, start, end), first + start))
    ]
    assert parts == rows(sampler.sample(whole, first))
    expected = [
        (i, f"/{i}", 1.0 if codes[i] >= 400 else sampler.weight)
        for i in range(200)
        if codes[i] >= 400 or splitmix64(first + i) * sampler.weight < 2**64
    ]
    assert rows(sampler.sample(whole, first)) == expected


@pytest.fixture(scope="module")
def many() -> Block:
    return numbered(200_000)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("period", [1, 2, 3, 7, 10, 64, 100])
def test_weights_add_up_to_the_count_whatever_rhythm_the_traffic_has(
    many: Block, rate: float, period: int
) -> None:
    weights = np.zeros(many.size)
    sampled = Sampler(rate).sample(many, 0)
    weights[sampled.numbers["timestamp"] - NOON] = sampled.numbers["weight"]
    for phase in range(min(period, 10)):
        of_it = len(weights[phase::period])
        sigma = math.sqrt(of_it * (1 - rate) / rate)
        assert abs(weights[phase::period].sum() - of_it) < 5 * sigma


def test_sampled_block_keeps_no_text_that_no_row_has() -> None:
    whole = numbered(10_000)
    sampled = Sampler(0.01).sample(whole, 0)
    assert 50 < sampled.size < 150
    assert len(sampled.texts["path"].values) == sampled.size
    assert sampled.nbytes < whole.nbytes / 30
    few = Block(
        whole.kind,
        whole.size,
        whole.numbers,
        whole.texts | {"path": Text(["/a", "/b", None], np.arange(10_000, dtype=np.int32) % 3)},
    )
    expected = [["/a", "/b", None][number % 3] for number, _, _ in rows(sampled)]
    assert Sampler(0.01).sample(few, 0).texts["path"].rows() == expected


def sampling(rate: float) -> dict[str, Any]:
    return {"sampling": Sampling(enabled=True, rate=Share(rate)), "flush_interval_ms": 3_600_000}


async def written(
    directory: Path, postgres: Postgres, dsn: str, blocks: list[Block], **metrics: Any
) -> Any:
    """Write blocks: the writer's figures, and the stored rows with their weights."""
    await postgres.prepare()
    await ask(dsn, "DELETE FROM request_metrics")
    async with storage_in(directory, postgres, **metrics) as storage:
        for each in blocks:
            storage.append([each])
        storage.writer.stop()
        await storage.writer.run()
    stored = await ask(dsn, "SELECT path, status_code, weight FROM request_metrics")
    return storage.writer.figures, sorted(stored)


@bounded
async def test_replay_in_other_blocks_stores_the_same_rows(tmp_path: Path, dsn: str) -> None:
    whole = numbered(5000)
    whole.numbers["status_code"][::7] = 503
    cut = [part(whole, start, start + 333) for start in range(0, 5000, 333)]
    async with database(dsn) as postgres:
        figures, once = await written(tmp_path / "a", postgres, dsn, [whole], **sampling(0.1))
        assert figures.sampled_out + figures.rows == 5000
        assert len(once) == figures.rows
        others, again = await written(tmp_path / "b", postgres, dsn, cut, **sampling(0.1))
    assert again == once
    assert (others.sampled_out, others.rows) == (figures.sampled_out, figures.rows)
    assert sum(status == 503 for _, status, _ in once) == len(range(0, 5000, 7))
    assert {(status, weight) for _, status, weight in once} == {(503, 1.0), (200, 10.0)}


@bounded
async def test_batch_sampled_again_after_a_loss_stores_the_same_rows(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = numbered(3000)
    async with database(dsn) as postgres:
        _, once = await written(tmp_path / "a", postgres, dsn, [whole], **sampling(0.1))
        await ask(dsn, "DELETE FROM request_metrics")
        async with storage_in(tmp_path / "b", postgres, **sampling(0.1)) as storage:
            storage.append([whole])  # and no writer comes to write it
        monkeypatch.setattr(writer_module, "MAX_BATCH_EVENTS", 70)
        figures, again = await written(tmp_path / "b", postgres, dsn, [], **sampling(0.1))
    assert again == once
    assert figures.batches == 43
    assert figures.sampled_out + figures.rows == 3000


@bounded
async def test_history_counts_all_requests_and_sampled_rows_estimate_them(
    tmp_path: Path, dsn: str, empty_backlog: Backlog
) -> None:
    whole = numbered(20_000)
    whole.numbers["status_code"][::10] = 429
    range_ = Range(NOON, NOON + 10 * SECOND_US, 10)
    async with database(dsn) as postgres:
        figures, _ = await written(tmp_path, postgres, dsn, [whole], **sampling(0.3))
        estimated = (await ExactHistory(postgres, empty_backlog, NODE).totals(range_, None)).figures
        with history_of(postgres, tmp_path / "other") as history:
            totals = (await history.totals(range_, None)).figures
            statuses_ = (await history.statuses(range_, None)).figures[NOON]
            (endpoint,) = (await history.top_endpoints(range_, None, 5)).figures
            requests = (await history.requests(range_, None)).figures
    assert figures.sampled_out > 10_000
    assert estimated.rate_limited == estimated.requests - estimated.succeeded == 2000
    assert abs(estimated.succeeded - 18_000) < 5 * math.sqrt(18_000 * 0.7 / 0.3)
    assert totals.rate_limited == totals.requests - totals.succeeded == 2000
    assert (statuses_.status_4xx, endpoint.failed) == (2000, 2000)
    assert totals.requests == endpoint.requests == requests[NOON].requests == 20_000
    assert statuses_.status_2xx == totals.succeeded == 18_000


@bounded
async def test_other_kinds_are_stored_whole_and_take_positions(tmp_path: Path, dsn: str) -> None:
    others = [block(kind, [{}] * 50) for kind in ("rate_limit", "backend", "system")]
    whole = numbered(2000)
    blocks = [part(whole, 0, 1000), *others, part(whole, 1000, 2000)]
    sampler = Sampler(0.01)
    expected = [
        *rows(sampler.sample(blocks[0], 0)),
        *rows(sampler.sample(blocks[-1], 1150)),
    ]
    async with database(dsn) as postgres:
        figures, stored = await written(tmp_path, postgres, dsn, blocks, **sampling(0.01))
    assert stored == sorted((path, 200, weight) for _, path, weight in expected)
    assert figures.rows == len(expected) + 150
    assert figures.sampled_out == 2000 - len(expected)


@pytest.mark.parametrize(
    "metrics",
    [{}, {"sampling": Sampling(enabled=False, rate=Share(0.1))}, sampling(1.0)],
)
@bounded
async def test_without_sampling_every_request_is_stored(
    tmp_path: Path, dsn: str, metrics: dict[str, Any]
) -> None:
    async with database(dsn) as postgres:
        figures, stored = await written(tmp_path, postgres, dsn, [numbered(500)], **metrics)
    assert stored == sorted((f"/{i}", 200, 1.0) for i in range(500))
    assert figures.sampled_out == 0


@bounded
async def test_batch_without_a_stored_row_moves_the_position(tmp_path: Path, dsn: str) -> None:
    async with database(dsn) as postgres:
        figures, stored = await written(tmp_path, postgres, dsn, [numbered(100)], **sampling(1e-6))
        assert (stored, figures.rows, figures.sampled_out) == ([], 0, 100)
        async with storage_in(tmp_path, postgres) as storage:
            storage.writer.stop()
            await storage.writer.run()
            assert (storage.backlog.events, storage.writer.figures.rows) == (0, 0)
