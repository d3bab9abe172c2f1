"""The acknowledged stream's groups: verdicts, closings and answers, on a real journal."""

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

from aegisd.config.settings import EnabledMetrics, Metrics, Privacy
from aegisd.events.block import Block
from aegisd.events.protocol import Reason
from aegisd.ingest.burst import Sender
from aegisd.ingest.stream import Answers
from aegisd.intake.acknowledge import Acknowledger
from aegisd.intake.intake import Intake
from aegisd.live.state import LiveState
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database.postgres import Postgres
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.sync import Sync
from aegisd.store.storage import Storage
from aegisd.store.write.writer import Writer
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

EVENT = GOOD["request"]
GARBAGE = b"\xc1"
ALICE, BOB = Sender(10, 1000), Sender(11, 1001)


class Line:
    """A listener's name."""

    address = "stream:test"


def clocks() -> tuple[float, float]:
    return time.time(), time.monotonic()


class Taking:
    """An acknowledger on a journal of its own; groups are put together by the test."""

    def __init__(self, directory: Path) -> None:
        self.journal = Journal(directory, PLENTY, time.time_ns() // 1000)
        self.backlog = Backlog(self.journal, time.time)
        postgres = Postgres(None, migrate=False, layout="auto", schema="aegisd")
        writer = Writer(postgres, self.backlog, Metrics(), "n", clocks)
        self.storage = Storage(self.journal, self.backlog, Sync(self.journal, 1), writer, True)
        self.intake = Intake(
            Decoder(MAX_AGE, Privacy(), EndpointNamer(templates=True)),
            Privacy(),
            EnabledMetrics(),
            LiveState(100, *clocks()),
            self.storage.append,
            clocks,
        )
        self.acknowledger = Acknowledger(self.intake, self.storage)

    async def group(self, *connections: tuple[Sender, list[bytes]]) -> list[Answers]:
        """What each connection's frames get, which were all there at once."""
        answers: dict[int, Answers] = {}

        async def take(number: int, sender: Sender, frames: list[bytes]) -> None:
            line: Any = Line()
            answers[number] = await self.acknowledger.take(line, sender, frames)

        with trio.fail_after(60):
            async with trio.open_nursery() as tasks, trio.open_nursery() as taking:
                for number, (sender, frames) in enumerate(connections):
                    taking.start_soon(take, number, sender, frames)
                    await trio.testing.wait_all_tasks_blocked()  # in this order
                tasks.start_soon(self.acknowledger.run)
                tasks.start_soon(self.storage.sync.run)
                while len(answers) < len(connections):  # noqa: ASYNC110 # nobody tells
                    await trio.sleep(0.001)
                tasks.cancel_scope.cancel()
        return [answers[number] for number in range(len(connections))]

    def kept(self) -> int:
        """Events in the journal, as they are read back."""
        self.backlog.resume_from(self.backlog.committed)
        batch = self.backlog.next_batch(2**62)
        return 0 if batch is None else batch.events


@asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[Taking]:
    taking = Taking(directory)
    try:
        yield taking
    finally:
        taking.storage.close()


@pytest.fixture
async def taking(tmp_path: Path) -> AsyncIterator[Taking]:
    async with _opened(tmp_path) as made:
        yield made


def message(source: str, seq: int, *events: object) -> bytes:
    return pack({"source": source, "seq": seq, "events": list(events or [EVENT])})


def told(answers: Answers) -> list[Any]:
    """The answers in short: what was acknowledged and how much accepted, or an error's code."""
    short: list[Any] = []
    for answer in answers.payloads:
        assert isinstance(answer, dict)
        if "error" in answer:
            short.append(answer["error"]["code"])
        else:
            short.append((answer["ack"], answer["accepted"], answer.get("duplicate", False)))
    return short


async def test_a_frame_behind_a_fault_makes_no_duplicate_of_another_connection_s(
    taking: Taking,
) -> None:
    broken, again = await taking.group(
        (ALICE, [GARBAGE, message("s", 0)]), (ALICE, [message("s", 0)])
    )
    assert (told(broken), broken.close) == (["malformed"], True)
    assert (told(again), again.close) == ([(0, 1, False)], False)
    assert taking.kept() == 1


async def test_a_frame_behind_a_straddling_one_makes_no_duplicate_of_another_connection_s(
    taking: Taking,
) -> None:
    await taking.group((ALICE, [message("a", 0, EVENT, EVENT)]))
    broken, again = await taking.group(
        (ALICE, [message("a", 1, EVENT, EVENT, EVENT), message("s", 0)]), (ALICE, [message("s", 0)])
    )
    assert (told(broken), broken.close) == (["bad_seq"], True)
    assert told(again) == [(0, 1, False)]
    assert taking.kept() == 3
    assert taking.intake.figures.rejected[Reason.BAD_SEQ] == 3, "each event of the message"


async def test_a_frame_before_a_fault_counts_and_its_resend_is_a_duplicate(taking: Taking) -> None:
    broken, again = await taking.group(
        (ALICE, [message("s", 0), GARBAGE]), (ALICE, [message("s", 0), message("s", 1)])
    )
    assert told(broken) == [(0, 1, False), "malformed"]
    assert told(again) == [(0, 0, True), (1, 1, False)]
    assert taking.kept() == 2


async def test_another_user_s_mark_moves_nothing_of_this_one_s(taking: Taking) -> None:
    await taking.group((BOB, [pack({"source": "s", "seq": 2**40, "events": []})]))
    (answers,) = await taking.group((ALICE, [message("s", 0)]))
    assert told(answers) == [(0, 1, False)]
    both = await taking.group((BOB, [message("s", 2**40)]), (ALICE, [message("s", 1)]))
    assert [told(answers) for answers in both] == [[(2**40, 1, False)], [(1, 1, False)]]
    assert taking.kept() == 3


def constants(seq: int, rows: int, padding: int = 0) -> bytes:
    """Few bytes that stand for many events, and others that stand for none."""
    columns = {"method": "GET", "path": "/", "status_code": 200, "unknown": bytes(padding)}
    head = {"v": 1, "kind": "request", "source": "s", "seq": seq, "n": rows}
    return pack(head | {"columns": columns})


async def test_frames_that_stand_for_more_events_than_they_may_are_rejected(
    taking: Taking,
) -> None:
    """Five of them would have been more than a block of the journal can be read back with."""
    (answers,) = await taking.group((ALICE, [constants(2**22 * i, 2**22) for i in range(5)]))
    assert [accepted for _, accepted, _ in told(answers)] == [0] * 5
    assert taking.intake.figures.rejected[Reason.OUT_OF_RANGE] == 5
    assert taking.kept() == 0


async def test_as_many_events_as_frames_may_stand_for_are_read_back(tmp_path: Path) -> None:
    rows, frames = 65_536, 20
    async with _opened(tmp_path) as taking:
        sent = [constants(rows * i, rows, padding=rows) for i in range(frames)]
        (answers,) = await taking.group((ALICE, sent))
        assert [accepted for _, accepted, _ in told(answers)] == [rows] * frames
    async with _opened(tmp_path) as again:
        read = 0
        while (batch := again.backlog.next_batch(2**20)) is not None:
            read += sum(block.size for block in blocks_of(batch))
            again.backlog.commit(batch.end)
        assert read == rows * frames
        assert again.backlog.lost_with_files == 0


def blocks_of(batch: Any) -> list[Block]:
    return [block for _, block in batch.blocks]
