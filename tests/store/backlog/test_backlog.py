"""The backlog: every event once and in order, in memory as far as there is room."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.databases import block, requests
from store.journals import UID, add, files, flip_byte, opened, set_aside
from structlog.testing import capture_logs
from support import short_directory

from aegisd.events.block import Block
from aegisd.store.backlog import backlog as backlog_module
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.backlog.batch import Batch
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


def numbered(first: int, count: int) -> Block:
    """Requests that tell their numbers in their paths."""
    return block("request", [{"path": f"/{number}"} for number in range(first, first + count)])


def put_durably(backlog: Backlog, blocks: list[Block], moved: dict[str, int]) -> int:
    named = {(UID, name): mark for name, mark in moved.items()}
    return backlog.append_durably(blocks, pack_blocks(blocks), named)


def lost_by(backlog: Backlog) -> int:
    """Events that were accepted, and found no room or can't be read any more."""
    return backlog.figures.no_room + backlog.figures.lost_with_files


def numbers(batch: Batch | None) -> list[int]:
    """The numbers of a batch's events, whose places tell them too where none was lost."""
    if batch is None:
        return []
    return [int(str(path)[1:]) for _, each in batch.blocks for path in each.texts["path"].rows()]


def drain(backlog: Backlog, size: int = ALL) -> list[int]:
    """The numbers of all that waits, stored batch by batch."""
    found: list[int] = []
    while (batch := backlog.next_batch(size)) is not None:
        found += numbers(batch)
        backlog.commit(batch.end)
    return found


def test_what_is_put_comes_out_in_order(tmp_path: Path) -> None:
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


def test_a_batch_stays_until_it_is_stored(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 3)])
        for _ in range(3):
            assert numbers(backlog.next_batch(ALL)) == [0, 1, 2]


def test_a_part_that_is_stored_comes_no_more(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 10)])
        backlog.append([numbered(10, 10)])
        assert numbers(backlog.next_batch(5)) == [0, 1, 2, 3, 4]
        backlog.commit(4)
        assert backlog.events == 16
        batch = backlog.next_batch(ALL)
        assert batch is not None
        assert (batch.start, numbers(batch)) == (4, list(range(4, 20)))


def test_nothing_put_is_nothing(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        size = files(tmp_path)[0].stat().st_size
        backlog.append([])
        backlog.append([numbered(0, 0)])
        assert (backlog.events, backlog.find_oldest(), backlog.next_batch(ALL)) == (0, None, None)
        assert files(tmp_path)[0].stat().st_size == size


def test_a_block_without_events_does_no_harm_beside_others(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 0), numbered(0, 2), numbered(2, 0)])
    with waiting(tmp_path) as backlog:
        assert drain(backlog) == [0, 1]


def test_what_was_not_stored_is_there_after_another_start(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        for first in range(0, 100, 10):
            backlog.append([numbered(first, 10)])
        backlog.commit(37)
    with waiting(tmp_path) as backlog:
        backlog.resume_from(37)
        backlog.append([numbered(100, 1)])
        assert backlog.find_oldest() == 50
        assert drain(backlog) == list(range(37, 101))
        assert lost_by(backlog) == 0


def test_durable_ones_come_in_order_with_the_others(tmp_path: Path) -> None:
    with waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 2)])
        assert put_durably(backlog, [numbered(2, 3)], {"a": 3}) == 2
        backlog.append([numbered(5, 1)])
        assert put_durably(backlog, [], {"a": 4}) == 4
        assert drain(backlog) == list(range(6))


# memory


def test_more_than_memory_holds_is_read_from_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 5 * requests(10).nbytes)
    with waiting(tmp_path) as backlog:
        for first in range(0, 1000, 10):
            backlog.append([numbered(first, 10)])
            assert backlog._buffered_bytes <= backlog_module.MAX_BUFFERED_BYTES
        assert drain(backlog, 30) == list(range(1000))
        assert (lost_by(backlog), backlog._buffered_bytes) == (0, 0)


def test_what_comes_while_the_journal_is_read_waits_for_its_turn(
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
    """In memory, for entries of ten."""
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 3 * numbered(100, 10).nbytes)


@contextmanager
def ticking(directory: Path) -> Iterator[Backlog]:
    """A backlog where the first entry comes at second 1, the second one at 2, and so on."""
    ticks = count(1)
    with opened(directory, 2**30, 0) as journal:
        backlog = Backlog(journal, lambda: float(next(ticks)))
        try:
            yield backlog
        finally:
            backlog.close()


def put_tens(backlog: Backlog, entries_: int) -> None:
    for _ in range(entries_):
        backlog.append([numbered(backlog.end, 10)])


@pytest.mark.usefixtures("room_for_three")
def test_while_memory_holds_all_that_waits_nothing_is_in_the_journal_alone(tmp_path: Path) -> None:
    with ticking(tmp_path) as backlog:
        assert backlog.unbuffered() == []
        put_tens(backlog, 3)
        assert backlog.unbuffered() == []
        drain(backlog)
        assert backlog.unbuffered() == []


@pytest.mark.usefixtures("room_for_three")
def test_what_is_in_the_journal_alone_is_told_with_when_it_came(tmp_path: Path) -> None:
    """Before it is read, while it is, and behind it when there was room again."""
    with ticking(tmp_path) as backlog:
        put_tens(backlog, 6)
        assert backlog.unbuffered() == [(60, 4)]
        backlog.next_batch(20)
        backlog.commit(20)
        put_tens(backlog, 4)  # for two of them there is room
        assert backlog.unbuffered() == [(60, 4), (100, 9)]
        backlog.next_batch(30)  # reads two of those on disk
        assert backlog.unbuffered() == [(60, 5), (100, 9)], "the last that was read came at 5"
        backlog.commit(60)
        assert backlog.unbuffered() == [(100, 9)]
        assert drain(backlog) == list(range(60, 100))
        assert backlog.unbuffered() == []


@pytest.mark.usefixtures("room_for_three")
def test_after_a_start_what_waits_is_in_the_journal_alone_but_for_the_first_entry(
    tmp_path: Path,
) -> None:
    with ticking(tmp_path) as backlog:
        put_tens(backlog, 3)
    with ticking(tmp_path) as backlog:
        backlog.resume_from(10)
        assert backlog.find_oldest() == 2
        assert backlog.unbuffered() == [(backlog.end, 2)]
        put_tens(backlog, 1)
        assert backlog.unbuffered() == [(backlog.end - 10, 2)]
        assert drain(backlog) == [*range(10, 30), *range(backlog.end - 10, backlog.end)]
        assert backlog.unbuffered() == []


# a journal that can't be written


def test_a_full_journal_leaves_it_to_memory_and_what_finds_no_room_is_counted(
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
            put_durably(backlog, [whole], {"a": 1})
        assert lost_by(backlog) == 20, "who hears of it has them still"
        assert drain(backlog) == list(range(30))
    assert [line["log_level"] for line in logs] == ["error"]


def test_a_journal_that_can_be_written_again_is_told_once(
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


def test_the_first_after_a_start_may_be_in_memory_alone(
    tmp_path: Path, unwritable: Callable[[Journal], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is a gap between positions, and behind it are events on disk alone."""
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


def test_what_memory_alone_held_is_counted_as_lost_after_a_crash(
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
    """Lets a journal fail to write, and write again, by the limit to the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def turn(journal: Journal) -> None:
        del journal
        low = resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, before if low else (1, before[1]))

    yield turn
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# damage


@pytest.mark.parametrize("damaged", [0, 1])
def test_what_stands_behind_damage_is_counted_as_lost_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: int
) -> None:
    """However often it is looked at; and what stands before is kept until it is stored."""
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


def test_a_missing_segment_is_counted_as_lost(
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


def test_when_only_lost_events_wait_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who waits for the last of them would wait for ever."""
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 0)
    with capture_logs(), waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 10)])
        flip_byte(files(tmp_path)[0], -1)
        assert backlog.events == 10
        assert backlog.find_oldest() is None
        assert (backlog.next_batch(ALL), backlog.events, backlog.figures.lost_with_files) == (
            None,
            0,
            10,
        )
        backlog.append([numbered(10, 2)])
        assert drain(backlog) == [10, 11]


def test_damage_costs_nothing_that_memory_holds(tmp_path: Path) -> None:
    with capture_logs(), waiting(tmp_path) as backlog:
        backlog.append([numbered(0, 10)])
        flip_byte(files(tmp_path)[0], -1)
        assert drain(backlog) == list(range(10))
        assert lost_by(backlog) == 0


def test_an_entry_that_is_none_is_counted_as_lost_and_left_behind(tmp_path: Path) -> None:
    """As one that a later release has written."""
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


# parts


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=6),
    st.data(),
)
def test_a_part_holds_what_lies_between(spans: list[tuple[int, int]], data: st.DataObject) -> None:
    place, blocks, where = 100, [], {}
    for gap, size in spans:
        place += gap
        blocks.append((place, numbered(place, size)))
        where |= {number: number for number in range(place, place + size)}
        place += size
    batch = Batch(100, place, blocks)
    low = data.draw(st.integers(90, place + 10))
    high = data.draw(st.integers(low, place + 10))
    part = batch.part(low, high)
    assert numbers(part) == [number for number in where if low <= number < high]
    for start, each in part.blocks:
        assert each.texts["path"].rows() == [f"/{start + i}" for i in range(each.size)]
    assert part.events == len(numbers(part))
    if batch.events > 1:
        one, two = batch.halves()
        assert numbers(one) + numbers(two) == numbers(batch)
        assert (one.start, one.end, two.end) == (batch.start, two.start, batch.end)
        assert one.events == batch.events // 2


# all together

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 5)),
        st.tuples(st.just("put durably"), st.integers(0, 5)),
        st.tuples(st.just("take"), st.integers(1, 12)),
        st.tuples(st.just("take a part"), st.integers(1, 12)),
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
        self.put = 0  # events that were ever put
        self.accepted: list[int] = []  # those that were not dropped, in order
        self.in_memory: set[int] = set()  # those that a crash takes away
        self.stored: list[int] = []
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
            case "put" | "put durably":
                self.journal.max_bytes = 0 if self.failing else 2**40
                self._put(number, durably=what == "put durably")
            case "look":
                waits = [n for n in self.accepted if n not in self.stored]
                found = numbers(self.backlog.next_batch(number))
                assert found == waits[: len(found)]
                assert bool(found) == bool(waits)
            case "take" | "take a part":
                self._take(number, part=what == "take a part")
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

    def _put(self, count: int, *, durably: bool) -> None:
        made = list(range(self.put, self.put + count))
        self.put += count
        dropped = lost_by(self.backlog)
        if durably:
            try:
                put_durably(self.backlog, [numbered(made[0], count)] if made else [], {"a": 1})
            except JournalUnavailable:
                return
        else:
            self.backlog.append([numbered(made[0], count)])
        if lost_by(self.backlog) == dropped:
            self.accepted += made
            if self.backlog.figures.error is not None:
                self.in_memory |= set(made)

    def _take(self, number: int, *, part: bool) -> None:
        batch = self.backlog.next_batch(number)
        if batch is None:
            assert self.stored == self.accepted
            return
        if part and batch.events > 1:
            batch = batch.halves()[0]
        self.stored += numbers(batch)
        self.in_memory -= set(numbers(batch))
        assert self.stored == self.accepted[: len(self.stored)]
        self.position = batch.end
        self.backlog.commit(batch.end)


@settings(max_examples=300, deadline=None)  # files take their time
@given(steps, st.integers(0, 6), st.sampled_from([1, 600, 2000, 10**6]))
def test_every_event_comes_once_and_in_order(
    done: list[tuple[str, int]], held: int, segment_bytes: int
) -> None:
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch, capture_logs():
        patch.setattr(backlog_module, "MAX_BUFFERED_BYTES", held * numbered(0, 3).nbytes)
        patch.setattr(journal_module, "SEGMENT_BYTES", segment_bytes)
        world = World(directory)
        for what, number in done:
            world.step(what, number)
        while world.backlog.next_batch(7) is not None:
            world.step("take", 7)
        assert world.stored == world.accepted
        assert (world.backlog.events, world.backlog._buffered_bytes) == (0, 0)
        world.close()
