"""Groups of the acknowledged stream on a real journal: what is answered, what is kept."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from sample_events import GOOD, MAX_AGE, pack
from store.journals import PLENTY

from aegisd.config.settings import Metrics, Privacy
from aegisd.events.block import Block
from aegisd.events.protocol import Reason
from aegisd.ingest.burst import Sender
from aegisd.ingest.stream import Answers
from aegisd.intake.acknowledger import Acknowledger
from aegisd.intake.intake import Intake
from aegisd.live.state import LiveState
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.pool import Pool
from aegisd.store.database.postgres import Postgres
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.sync_schedule import Sync
from aegisd.store.storage import Storage
from aegisd.store.write.writer import Writer
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

EVENT = GOOD["request"]
GARBAGE = b"\xc1"
ALICE, BOB = Sender(10, 1000), Sender(11, 1001)


class FakeListener:
    """A listener's name."""

    address = "stream:test"


def clocks() -> tuple[float, float]:
    return time.time(), time.monotonic()


class Harness:
    """An acknowledger on a journal of its own; groups are put together by the test."""

    def __init__(self, directory: Path) -> None:
        self.journal = Journal(directory, PLENTY, time.time_ns() // 1000)
        self.backlog = Backlog(self.journal, time.time)
        postgres = Postgres(Pool(None, migrate=False, layout="auto", schema="aegisd"))
        writer = Writer(postgres, self.backlog, Metrics(), "n", clocks)
        self.storage = Storage(self.journal, self.backlog, Sync(self.journal, 1), writer, True)
        self.intake = Intake(
            Decoder(MAX_AGE, Privacy(), EndpointNamer(templates=True)),
            Privacy(),
            LiveState(100, *clocks()),
            self.storage.append,
            clocks,
        )
        self.acknowledger = Acknowledger(self.intake, self.storage)

    async def group(self, *connections: tuple[Sender, list[bytes]]) -> list[Answers]:
        """What each connection's frames get, which were all there at once."""
        answers: dict[int, Answers] = {}

        async def submit(number: int, sender: Sender, frames: list[bytes]) -> None:
            listener: Any = FakeListener()
            answers[number] = await self.acknowledger.submit(listener, sender, frames)

        with trio.fail_after(60):
            async with trio.open_nursery() as tasks, trio.open_nursery() as submitting:
                for number, (sender, frames) in enumerate(connections):
                    submitting.start_soon(submit, number, sender, frames)
                    await trio.testing.wait_all_tasks_blocked()  # in this order
                tasks.start_soon(self.acknowledger.run)
                tasks.start_soon(self.storage.sync.run)
                while len(answers) < len(connections):  # noqa: ASYNC110 # submit has no event
                    await trio.sleep(0.001)
                tasks.cancel_scope.cancel()
        return [answers[number] for number in range(len(connections))]

    def events_in_journal(self) -> int:
        """Events in the journal, as they are read back."""
        self.backlog.resume_from(self.backlog.committed)
        batch = self.backlog.next_batch(2**62)
        return 0 if batch is None else batch.events


@asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[Harness]:
    harness = Harness(directory)
    try:
        yield harness
    finally:
        harness.storage.close()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with _opened(tmp_path) as made:
        yield made


def message(source: str, seq: int, *events: object) -> bytes:
    return pack({"source": source, "seq": seq, "events": list(events or [EVENT])})


def in_short(answers: Answers) -> list[Any]:
    """Of each answer: seq, accepted events and whether a duplicate; or an error's code."""
    short: list[Any] = []
    for answer in answers.payloads:
        assert isinstance(answer, dict)
        if "error" in answer:
            short.append(answer["error"]["code"])
        else:
            short.append((answer["ack"], answer["accepted"], answer.get("duplicate", False)))
    return short


async def test_frame_behind_an_unreadable_one_makes_no_duplicate_on_another_connection(
    harness: Harness,
) -> None:
    broken, again = await harness.group(
        (ALICE, [GARBAGE, message("s", 0)]), (ALICE, [message("s", 0)])
    )
    assert (in_short(broken), broken.close) == (["malformed"], True)
    assert (in_short(again), again.close) == ([(0, 1, False)], False)
    assert harness.events_in_journal() == 1


async def test_frame_behind_a_straddling_one_makes_no_duplicate_on_another_connection(
    harness: Harness,
) -> None:
    await harness.group((ALICE, [message("a", 0, EVENT, EVENT)]))
    broken, again = await harness.group(
        (ALICE, [message("a", 1, EVENT, EVENT, EVENT), message("s", 0)]), (ALICE, [message("s", 0)])
    )
    assert (in_short(broken), broken.close) == (["bad_seq"], True)
    assert in_short(again) == [(0, 1, False)]
    assert harness.events_in_journal() == 3
    assert harness.intake.figures().rejected[Reason.BAD_SEQ] == 3, "each event of the message"


async def test_frame_before_an_unreadable_one_counts_and_its_resend_is_a_duplicate(
    harness: Harness,
) -> None:
    broken, again = await harness.group(
        (ALICE, [message("s", 0), GARBAGE]), (ALICE, [message("s", 0), message("s", 1)])
    )
    assert in_short(broken) == [(0, 1, False), "malformed"]
    assert in_short(again) == [(0, 0, True), (1, 1, False)]
    assert harness.events_in_journal() == 2


async def test_mark_of_another_uid_does_not_move_this_one(harness: Harness) -> None:
    await harness.group((BOB, [pack({"source": "s", "seq": 2**40, "events": []})]))
    (answers,) = await harness.group((ALICE, [message("s", 0)]))
    assert in_short(answers) == [(0, 1, False)]
    both = await harness.group((BOB, [message("s", 2**40)]), (ALICE, [message("s", 1)]))
    assert [in_short(answers) for answers in both] == [[(2**40, 1, False)], [(1, 1, False)]]
    assert harness.events_in_journal() == 3


def constants(seq: int, rows: int, padding: int = 0) -> bytes:
    """Few bytes that stand for many events, and others that stand for none."""
    columns = {"method": "GET", "path": "/", "status_code": 200, "unknown": bytes(padding)}
    head = {"v": 1, "kind": "request", "source": "s", "seq": seq, "n": rows}
    return pack(head | {"columns": columns})


async def test_frame_with_too_many_rows_for_its_bytes_is_rejected(
    harness: Harness,
) -> None:
    """Five of them would have been more than a block of the journal can be read back with."""
    (answers,) = await harness.group((ALICE, [constants(2**22 * i, 2**22) for i in range(5)]))
    assert [accepted for _, accepted, _ in in_short(answers)] == [0] * 5
    assert harness.intake.figures().rejected[Reason.OUT_OF_RANGE] == 5
    assert harness.events_in_journal() == 0


async def test_largest_group_is_read_back_from_the_journal(tmp_path: Path) -> None:
    rows, frames = 65_536, 20
    async with _opened(tmp_path) as harness:
        sent = [constants(rows * i, rows, padding=rows) for i in range(frames)]
        (answers,) = await harness.group((ALICE, sent))
        assert [accepted for _, accepted, _ in in_short(answers)] == [rows] * frames
    async with _opened(tmp_path) as again:
        read = 0
        while (batch := again.backlog.next_batch(2**20)) is not None:
            read += sum(block.size for block in blocks_of(batch))
            again.backlog.commit(batch.end)
        assert read == rows * frames
        assert again.backlog.figures.lost_with_files == 0


def blocks_of(batch: Any) -> list[Block]:
    return [block for _, block in batch.blocks]
