"""The backlog: every event once and in order, in memory as far as there is room."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.backlog.numbered_events import numbered, numbers
from store.databases import block, requests
from store.journals import UID, add, files, flip_byte, opened, set_aside
from structlog.testing import capture_logs
from support import short_directory

from aegisd.events.block import Block
from aegisd.store.backlog import backlog as backlog_module
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.journal import journal as journal_module
from aegisd.store.journal import pack_blocks
from aegisd.store.journal.journal import Journal, JournalUnavailable

ALL = 10**9


@contextmanager
def waiting(directory: Path, max_bytes: int = 2**30, now: int = 0) -> Iterator[Backlog]:
    with opened(directory, max_bytes, now) as journal:
        backlog = Backlog(journal, lambda: 50.9)
        try:
            yield backlog
        finally:
            backlog.close()


def append_with_marks(backlog: Backlog, blocks: list[Block], moved: dict[str, int]) -> int:
    named = {(UID, name): mark for name, mark in moved.items()}
    return backlog.append_with_marks(blocks, pack_blocks(blocks), named)


def lost_by(backlog: Backlog) -> int:
    """Events that found no room or can't be read any more."""
    return backlog.figures.no_room + backlog.figures.lost_with_files


def drain(backlog: Backlog, size: int = ALL) -> list[int]:
    """The numbers of all that waits, committed batch by batch."""
    found: list[int] = []
    while (batch := backlog.next_batch(size)) is not None:
        found += numbers(batch)
        backlog.commit(batch.end)
    return found


def test_appended_events_come_out_in_order(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        assert backlog.next_batch(ALL) is None
        backlog.append([numbered(0, 3), block("system", [{}] * 2), numbered(5, 1)])
        backlog.append([numbered(6, 4)])
        assert backlog.events == 10
        batch = backlog.next_batch(ALL)
        assert batch is not None
        assert (batch.start, batch.end, batch.events) == (0, 10, 10)
        assert [(place, each.kind, each.size) for place, each in batch.blocks] == [
            (0, "request", 3),
            (3, "system", 2),
            (5, "request", 1),
            (6, "request", 4),
        ]
        backlog.commit(batch.end)
        assert backlog.events == 0
        assert backlog.next_batch(ALL) is None


def test_batch_stays_until_it_is_committed(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 3)])
        for _ in range(3):
            assert numbers(backlog.next_batch(ALL)) == [0, 1, 2]


def test_commit_within_a_record_leaves_its_rest(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 10)])
        backlog.append([numbered(10, 10)])
        assert numbers(backlog.next_batch(5)) == [0, 1, 2, 3, 4]
        backlog.commit(4)
        assert backlog.events == 16
        batch = backlog.next_batch(ALL)
        assert batch is not None
        assert (batch.start, numbers(batch)) == (4, list(range(4, 20)))


def test_append_without_events_writes_no_record(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        size = files(tmp_path)[0].stat().st_size
        backlog.append([])
        backlog.append([numbered(0, 0)])
        assert (backlog.events, backlog.load_oldest(), backlog.next_batch(ALL)) == (0, None, None)
        assert files(tmp_path)[0].stat().st_size == size


def test_block_without_events_beside_others_is_read_back(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 0), numbered(0, 2), numbered(2, 0)])
    with waiting(tmp_path) as backlog:
        assert drain(backlog) == [0, 1]


def test_restart_keeps_events_that_are_not_committed(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        for first in range(0, 100, 10):
            backlog.append([numbered(first, 10)])
        backlog.commit(37)
    with waiting(tmp_path) as backlog:
        backlog.resume_from(37)
        backlog.append([numbered(100, 1)])
        assert backlog.load_oldest() == 50
        assert drain(backlog) == list(range(37, 101))
        assert lost_by(backlog) == 0


def test_durable_events_come_in_order_with_the_others(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 2)])
        assert append_with_marks(backlog, [numbered(2, 3)], {"a": 3}) == 2
        backlog.append([numbered(5, 1)])
        assert append_with_marks(backlog, [], {"a": 4}) == 4
        assert drain(backlog) == list(range(6))


# memory


def test_events_beyond_memory_are_read_from_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 5 * requests(10).nbytes)
    with waiting(tmp_path) as backlog:
        for first in range(0, 1000, 10):
            backlog.append([numbered(first, 10)])
            assert backlog._buffered_bytes <= backlog_module.MAX_BUFFERED_BYTES
        assert drain(backlog, 30) == list(range(1000))
        assert (lost_by(backlog), backlog._buffered_bytes) == (0, 0)


def test_events_appended_while_a_gap_is_read_come_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 5 * requests(10).nbytes)
    found: list[int] = []
    with waiting(tmp_path) as backlog:
        for first in range(0, 1000, 10):
            backlog.append([numbered(first, 10)])
            if first % 30 == 0:
                batch = backlog.next_batch(10)
                assert batch is not None
                found += numbers(batch)
                backlog.commit(batch.end)
        assert found + drain(backlog) == list(range(1000))


# what memory has no room for


@pytest.fixture
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has room for three records of ten events."""
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 3 * numbered(100, 10).nbytes)


@contextmanager
def ticking(directory: Path) -> Iterator[Backlog]:
    """A backlog where the first record comes at second 1, the second one at 2, and so on."""
    ticks = count(1)
    with opened(directory, 2**30, 0) as journal:
        backlog = Backlog(journal, lambda: float(next(ticks)))
        try:
            yield backlog
        finally:
            backlog.close()


def append_tens(backlog: Backlog, records: int) -> None:
    for _ in range(records):
        backlog.append([numbered(backlog.end, 10)])


@pytest.mark.usefixtures("room_for_three")
def test_no_gap_while_memory_holds_all(tmp_path: Path) -> None:
    with ticking(tmp_path) as backlog:
        assert backlog.unbuffered() == []
        append_tens(backlog, 3)
        assert backlog.unbuffered() == []
        drain(backlog)
        assert backlog.unbuffered() == []


@pytest.mark.usefixtures("room_for_three")
def test_gaps_are_told_with_when_their_first_event_came(tmp_path: Path) -> None:
    """Before a gap is read, while it is, and for a second gap behind it."""
    with ticking(tmp_path) as backlog:
        append_tens(backlog, 6)
        assert backlog.unbuffered() == [(60, 4)]
        backlog.next_batch(20)
        backlog.commit(20)
        append_tens(backlog, 4)  # for two of them there is room
        assert backlog.unbuffered() == [(60, 4), (100, 9)]
        backlog.next_batch(30)  # reads two of those on disk
        assert backlog.unbuffered() == [(60, 5), (100, 9)], "the last that was read came at 5"
        backlog.commit(60)
        assert backlog.unbuffered() == [(100, 9)]
        assert drain(backlog) == list(range(60, 100))
        assert backlog.unbuffered() == []


@pytest.mark.usefixtures("room_for_three")
def test_after_restart_all_but_the_first_record_is_a_gap(
    tmp_path: Path,
) -> None:
    with ticking(tmp_path) as backlog:
        append_tens(backlog, 3)
    with ticking(tmp_path) as backlog:
        backlog.resume_from(10)
        assert backlog.load_oldest() == 2
        assert backlog.unbuffered() == [(backlog.end, 2)]
        append_tens(backlog, 1)
        assert backlog.unbuffered() == [(backlog.end - 10, 2)]
        assert drain(backlog) == [*range(10, 30), *range(backlog.end - 10, backlog.end)]
        assert backlog.unbuffered() == []


# a journal that can't be written


def test_full_journal_leaves_events_in_memory_and_counts_what_finds_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = numbered(10, 10)
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 3 * whole.nbytes)
    with capture_logs() as logs, waiting(tmp_path, max_bytes=1) as backlog:
        for first in range(0, 50, 10):
            backlog.append([numbered(first, 10)])
        assert (backlog.figures.no_room, backlog.events, backlog.figures.lost_with_files) == (
            20,
            30,
            0,
        )
        assert backlog.figures.error == "it is full (storage.journal_max_bytes)"
        with pytest.raises(JournalUnavailable):
            append_with_marks(backlog, [whole], {"a": 1})
        assert lost_by(backlog) == 20, "who hears of it has them still"
        assert drain(backlog) == list(range(30))
    assert [line["log_level"] for line in logs] == ["error"]


def test_failing_and_recovering_journal_are_each_logged_once(
    tmp_path: Path, unwritable: Callable[[Journal], None]
) -> None:
    with capture_logs() as logs, opened(tmp_path) as journal:
        backlog = Backlog(journal, lambda: 0.0)
        for first in range(3):
            backlog.append([numbered(first, 1)])
        unwritable(journal)
        for first in range(3, 6):
            backlog.append([numbered(first, 1)])
        assert backlog.figures.error is not None
        unwritable(journal)
        for first in range(6, 9):
            backlog.append([numbered(first, 1)])
        assert backlog.figures.error is None
        assert (backlog.events, lost_by(backlog)) == (9, 0)
        assert drain(backlog) == list(range(9))
        backlog.close()
    assert [line["log_level"] for line in logs] == ["error", "info"]


def test_first_record_after_restart_in_memory_alone_comes_out(
    tmp_path: Path, unwritable: Callable[[Journal], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it are positions without events, and behind it events in the journal alone."""
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 3)])
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", numbered(0, 3).nbytes)
    with capture_logs(), opened(tmp_path) as journal:
        backlog = Backlog(journal, lambda: 0.0)
        backlog.resume_from(3)
        unwritable(journal)
        backlog.append([numbered(3, 3)])
        unwritable(journal)
        backlog.append([numbered(6, 3)])
        backlog.append([numbered(9, 3)])
        assert drain(backlog) == list(range(3, 12))
        assert lost_by(backlog) == 0
        backlog.close()


def test_events_in_memory_alone_are_counted_as_lost_after_a_crash(
    tmp_path: Path, unwritable: Callable[[Journal], None]
) -> None:
    with capture_logs(), opened(tmp_path) as journal:
        backlog = Backlog(journal, lambda: 0.0)
        backlog.append([numbered(0, 3)])
        unwritable(journal)
        backlog.append([numbered(3, 4)])
        unwritable(journal)
        backlog.append([numbered(7, 2)])
    with capture_logs(), waiting(tmp_path) as backlog:
        backlog.resume_from(0)
        assert drain(backlog) == [0, 1, 2, 7, 8]
        assert (backlog.figures.lost_with_files, backlog.events) == (4, 0)


@pytest.fixture
def unwritable() -> Iterator[Callable[[Journal], None]]:
    """Makes the journal fail to write, and write again, by the limit to the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def turn(journal: Journal) -> None:
        del journal
        low = resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, before if low else (1, before[1]))

    yield turn
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# damage


@pytest.mark.parametrize("damaged", [0, 1])
def test_events_behind_damage_are_counted_as_lost_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: int
) -> None:
    """However often it is read; and what stands before is kept until it is committed."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 0)
    with waiting(tmp_path) as backlog:
        for first in range(0, 90, 10):
            backlog.append([numbered(first, 10)])
    spans = [int(path.stem) for path in files(tmp_path)]
    starts, end = spans[: damaged + 1], [*spans[1:], 90][damaged]
    flip_byte(files(tmp_path)[damaged], -1)
    last = max(starts[-1], end - 10)  # the last record of the file
    expected = [n for n in range(90) if not last <= n < min(end, 90)]
    with capture_logs(), waiting(tmp_path) as backlog:
        for _ in range(2):
            backlog.resume_from(0)
            assert numbers(backlog.next_batch(ALL)) == expected
            assert backlog.figures.lost_with_files == 90 - len(expected)
    with capture_logs(), waiting(tmp_path) as backlog:  # as after a crash
        backlog.resume_from(0)
        assert drain(backlog, 10) == expected
        assert backlog.figures.lost_with_files == 90 - len(expected)
        assert backlog.events == 0
    assert len(set_aside(tmp_path)) == 1


def test_missing_segment_is_counted_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    with waiting(tmp_path) as backlog:
        for first in range(0, 90, 10):
            backlog.append([numbered(first, 10)])
    middle = [int(path.stem) for path in files(tmp_path)][1:3]
    files(tmp_path)[1].unlink()
    with capture_logs(), waiting(tmp_path) as backlog:
        backlog.resume_from(0)
        assert drain(backlog) == [n for n in range(90) if not middle[0] <= n < middle[1]]
        assert backlog.figures.lost_with_files == middle[1] - middle[0]


def test_lost_events_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the daemon would wait for ever for the last of them to be written."""
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 0)
    with capture_logs(), waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 10)])
        flip_byte(files(tmp_path)[0], -1)
        assert backlog.events == 10
        assert backlog.load_oldest() is None
        assert (backlog.next_batch(ALL), backlog.events, backlog.figures.lost_with_files) == (
            None,
            0,
            10,
        )
        backlog.append([numbered(10, 2)])
        assert drain(backlog) == [10, 11]


def test_damage_costs_no_event_in_memory(tmp_path: Path) -> None:
    with capture_logs(), waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 10)])
        flip_byte(files(tmp_path)[0], -1)
        assert drain(backlog) == list(range(10))
        assert lost_by(backlog) == 0


def test_unreadable_payload_is_counted_as_lost_and_passed_over(tmp_path: Path) -> None:
    """As a payload that a later release wrote."""
    with opened(tmp_path) as journal:
        add(journal, pack_blocks([numbered(0, 5)]), b"\xc1", events=5)
        add(journal, pack_blocks([numbered(10, 5)]), events=5)
    with capture_logs(), waiting(tmp_path) as backlog:
        for _ in range(2):
            backlog.resume_from(0)
            assert numbers(backlog.next_batch(ALL)) == [*range(5), *range(10, 15)]
        assert backlog.figures.lost_with_files == 5
        batch = backlog.next_batch(ALL)
        assert batch is not None
        backlog.commit(batch.end)
        assert backlog.events == 0


# all together

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("append durably"), st.integers(0, 5)),
        st.tuples(st.just("commit"), st.integers(1, 12)),
        st.tuples(st.just("commit a half"), st.integers(1, 12)),
        st.tuples(st.just("look"), st.integers(1, 12)),
        st.tuples(st.just("connect again"), st.integers(0, 30)),
        st.tuples(st.just("crash"), st.integers(0, 30)),
        st.tuples(st.just("fail"), st.just(0)),
        st.tuples(st.just("work"), st.just(0)),
    ),
    max_size=60,
)


class World:
    """A backlog, the database's side of it, and a plain list of what must come out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.appended = 0  # events so far
        self.accepted: list[int] = []  # those that were not dropped, in order
        self.in_memory: set[int] = set()  # those that a crash takes away
        self.committed: list[int] = []
        self.position = 0  # as the database has it
        self.failing = False
        self.open()

    def open(self) -> None:
        self.journal = Journal(self.directory, 2**40, 0)
        self.backlog = Backlog(self.journal, lambda: 0.0)
        self.backlog.resume_from(self.position)

    def close(self) -> None:
        self.backlog.close()
        self.journal.close()

    def step(self, what: str, number: int) -> None:
        match what:
            case "append" | "append durably":
                self.journal._max_bytes = 0 if self.failing else 2**40
                self._append(number, durably=what == "append durably")
            case "look":
                waits = [n for n in self.accepted if n not in self.committed]
                found = numbers(self.backlog.next_batch(number))
                assert found == waits[: len(found)]
                assert bool(found) == bool(waits)
            case "commit" | "commit a half":
                self._commit(number, part=what == "commit a half")
            case "connect again":
                self.backlog.resume_from(self.position)
            case "crash":
                self.close()
                self.accepted = [n for n in self.accepted if n not in self.in_memory]
                self.in_memory = set()
                self.failing = False
                self.open()
            case "fail":
                self.failing = True
            case "work":
                self.failing = False
                self.journal._full = False

    def _append(self, count: int, *, durably: bool) -> None:
        made = list(range(self.appended, self.appended + count))
        self.appended += count
        dropped = lost_by(self.backlog)
        if durably:
            try:
                append_with_marks(
                    self.backlog, [numbered(made[0], count)] if made else [], {"a": 1}
                )
            except JournalUnavailable:
                return
        else:
            self.backlog.append([numbered(made[0], count)])
        if lost_by(self.backlog) == dropped:
            self.accepted += made
            if self.backlog.figures.error is not None:
                self.in_memory |= set(made)

    def _commit(self, number: int, *, part: bool) -> None:
        batch = self.backlog.next_batch(number)
        if batch is None:
            assert self.committed == self.accepted
            return
        if part and batch.events > 1:
            batch = batch.halves()[0]
        self.committed += numbers(batch)
        self.in_memory -= set(numbers(batch))
        assert self.committed == self.accepted[: len(self.committed)]
        self.position = batch.end
        self.backlog.commit(batch.end)


@settings(max_examples=300, deadline=None)  # files take their time
@given(steps, st.integers(0, 6), st.sampled_from([1, 600, 2000, 10**6]))
def test_any_steps_give_every_event_once_and_in_order(
    done: list[tuple[str, int]], held: int, segment_bytes: int
) -> None:
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(backlog_module, "MAX_BUFFERED_BYTES", held * numbered(0, 3).nbytes)
        patch.setattr(journal_module, "SEGMENT_BYTES", segment_bytes)
        world = World(directory)
        for what, number in done:
            world.step(what, number)
        while world.backlog.next_batch(7) is not None:
            world.step("commit", 7)
        assert world.committed == world.accepted
        assert (world.backlog.events, world.backlog._buffered_bytes) == (0, 0)
        world.close()
