"""The journal while all is well: what is appended is read, bounded, synced and released."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.journals import SECOND, UID, add, entries, files, held, known, opened
from support import short_directory

from aegisd.store.journal import journal as journal_module
from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.journal import GAP, JournalFull


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few records each."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 300)


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    with opened(tmp_path, now=5) as journal:
        assert journal.append(2, b"one", {}, SECOND) == 5
        assert journal.append(3, b"two", {}, SECOND) == 7
        assert journal.end == 10
        assert held(journal) == [(5, b"one"), (7, b"two")]
        assert journal.events_from(0) == 5
        assert journal.events_from(6) == 4


def test_reading_goes_on_where_the_end_was(tmp_path: Path, tiny: None) -> None:
    with opened(tmp_path) as journal:
        cursor = Cursor(journal, 0)
        for number in range(50):
            assert cursor.next() is None
            add(journal, b"%d" % number)
            record = cursor.next()
            assert record is not None
            assert (record.position, record.payload, record.written) == (
                number,
                b"%d" % number,
                SECOND,
            )
        cursor.close()
    assert len(files(tmp_path)) > 5


@pytest.mark.parametrize("position", [0, 1, 17, 49, 50])
def test_reading_starts_anywhere(tmp_path: Path, tiny: None, position: int) -> None:
    with opened(tmp_path) as journal:
        add(journal, *(b"%d" % number for number in range(50)))
        assert entries(journal, position) == [b"%d" % number for number in range(position, 50)]


def test_a_record_that_reaches_over_the_position_is_read_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        add(journal, b"a", b"b", events=10)
        assert held(journal, 9) == [(0, b"a"), (10, b"b")]
        assert held(journal, 10) == [(10, b"b")]


def test_entries_of_any_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    odd = [b"", bytes(5000), b"AEGISDJ1", os.urandom(100_000)]
    with opened(tmp_path) as journal:
        add(journal, *odd)
        assert entries(journal) == odd


def test_what_was_released_is_deleted_and_nothing_else(tmp_path: Path, tiny: None) -> None:
    with opened(tmp_path) as journal:
        add(journal, *(b"%d" % number for number in range(50)))
        before = len(files(tmp_path))
        for position in range(51):
            journal.trim(position)
            assert journal.start <= position
            assert entries(journal, position) == [b"%d" % n for n in range(position, 50)]
            assert journal.figures.bytes == sum(f.stat().st_size for f in files(tmp_path))
        assert len(files(tmp_path)) == 1 < before


@pytest.mark.parametrize("rounds", [1, 3])
def test_all_is_there_after_another_start(tmp_path: Path, tiny: None, rounds: int) -> None:
    expected: list[bytes] = []
    ends = []
    for start in range(rounds):
        with opened(tmp_path) as journal:
            uuid = journal.uuid
            made = [b"%d %d" % (start, number) for number in range(20)]
            add(journal, *made)
            expected += made
            ends.append(journal.end)
    with opened(tmp_path) as journal:
        assert journal.uuid == uuid
        assert entries(journal) == expected
        assert journal.end == ends[-1] + GAP, "no position is given twice"
        assert journal.events_from(0) == len(expected), "gaps are no events"
        assert journal.figures.corrupt_files == journal.figures.lost == 0


def test_a_new_position_is_where_the_clock_is(tmp_path: Path) -> None:
    later = 1_790_000_000_000_000
    with opened(tmp_path) as journal:
        add(journal, b"a")
    with opened(tmp_path, now=later) as journal:
        assert journal.end == later
        add(journal, b"b")
        assert held(journal) == [(0, b"a"), (later, b"b")]


def test_what_was_stored_before_the_last_stop_is_deleted(tmp_path: Path, tiny: None) -> None:
    with opened(tmp_path) as journal:
        add(journal, *(b"%d" % number for number in range(50)))
    with opened(tmp_path) as journal:
        journal.trim(50)
        assert len(files(tmp_path)) == 1


def test_marks_are_there_after_another_start(tmp_path: Path, tiny: None) -> None:
    with opened(tmp_path) as journal:
        add(journal, b"x", a=5, b=1)
        add(journal, *(b"%d" % number for number in range(30)))
        add(journal, b"y", b=7)
        add(journal, b"", events=0, c=3)
        journal.trim(journal.end)
        expected = {"a": 5, "b": 7, "c": 3, "d": None}
        assert known(journal, *expected) == expected
    for _ in range(3):
        with opened(tmp_path) as journal:
            assert known(journal, *expected) == expected


def test_positions_without_a_record_are_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        add(journal, b"a")
        assert journal.skip(7) == 1
        add(journal, b"b")
        assert held(journal) == [(0, b"a"), (8, b"b")]


# the bound


def test_more_than_the_bound_is_refused(tmp_path: Path, tiny: None) -> None:
    with opened(tmp_path, max_bytes=2000) as journal:
        fill(journal)
        size = journal.figures.bytes
        assert 1900 < size <= 2000
        with pytest.raises(JournalFull):
            add(journal, b"")
        assert journal.figures.bytes == size == sum(f.stat().st_size for f in files(tmp_path))


@pytest.mark.parametrize("max_bytes", [400, 2000, 5000])
def test_a_full_journal_takes_more_as_soon_as_it_could_let_something_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    with opened(tmp_path, max_bytes=max_bytes) as journal:
        for _ in range(5):
            fill(journal)
            journal.trim(journal.end)


def test_a_full_journal_stays_full_until_something_is_released(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        add(journal, b"a")
        with pytest.raises(JournalFull):
            add(journal, bytes(1000))
        with pytest.raises(JournalFull):
            add(journal, b"that would find room")
        journal.trim(0)
        with pytest.raises(JournalFull):
            add(journal, b"b")
        journal.skip(3)  # what comes meanwhile, in memory alone
        journal.trim(1)
        journal.skip(5)
        journal.trim(4)
        add(journal, b"c")
        assert held(journal, 4) == [(9, b"c")]


def test_a_journal_that_was_full_before_another_start_takes_more_when_all_is_stored(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        fill(journal)
        end = journal.end
    with opened(tmp_path, max_bytes=1000) as journal:
        with pytest.raises(JournalFull):
            add(journal, bytes(100))
        journal.trim(end)
        add(journal, bytes(100))


def fill(journal: journal_module.Journal) -> None:
    for _ in range(1000):
        try:
            add(journal, bytes(20))
        except JournalFull:
            return
    pytest.fail("it is never full")


# syncing


def test_what_is_synced_is_known(tmp_path: Path, tiny: None) -> None:
    with opened(tmp_path) as journal:
        assert journal.synced == 0
        for _ in range(3):
            add(journal, *[b"x"] * 20)
            assert journal.synced < journal.end
            assert journal.sync() == journal.synced == journal.end


def test_what_the_disk_failed_to_take_is_written_anew_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [True]
    inodes: list[int] = []
    fdatasync = os.fdatasync

    def sometimes(file: int) -> None:
        if failing.pop(0) if failing else False:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        inodes.append(os.fstat(file).st_ino)
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", sometimes)
    with opened(tmp_path) as journal:
        add(journal, b"one", b"two")
        (file,) = files(tmp_path)
        before = file.stat().st_ino
        with pytest.raises(OSError, match="Input/output"):
            journal.sync()
        assert (journal.records_synced, journal.synced, journal.suspect) == (0, 0, True)
        add(journal, b"three")
        journal.sync()
        assert (journal.records_synced, journal.suspect) == (3, False)
        # the kernel takes the first file for written, whatever happened to it
        assert before not in inodes
        add(journal, b"four")
        assert entries(journal) == [b"one", b"two", b"three", b"four"]
    with opened(tmp_path) as journal:
        assert entries(journal) == [b"one", b"two", b"three", b"four"]


def test_a_segment_that_the_disk_failed_to_take_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells a fault once: the next call would take what is lost for written."""
    failing = [errno.EIO, errno.ENOSPC]
    inodes: list[int] = []
    fdatasync = os.fdatasync

    def sometimes(file: int) -> None:
        if failing:
            number = failing.pop(0)
            raise OSError(number, os.strerror(number))
        inodes.append(os.fstat(file).st_ino)
        fdatasync(file)

    with opened(tmp_path) as journal:
        add(journal, b"one", b"two")
        journal.sync()
        add(journal, b"three")
        (file,) = files(tmp_path)
        lost = file.stat().st_ino
        whole = file.read_bytes()
        monkeypatch.setattr(os, "fdatasync", sometimes)
        with pytest.raises(OSError, match="Input/output"):
            journal.sync()
        # the page cache may have let it go, too
        file.write_bytes(whole[: whole.index(b"three")] + bytes(5))
        monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
        with pytest.raises(OSError, match="No space"):
            add(journal, b"refused")
        assert journal.records_synced == 2
        add(journal, b"four")
        assert lost not in inodes
        assert len(files(tmp_path)) == 2
        journal.sync()
        assert journal.records_synced == 4
        assert entries(journal) == [b"one", b"two", b"three", b"four"]
    with opened(tmp_path) as journal:
        assert entries(journal) == [b"one", b"two", b"three", b"four"]


def test_a_file_that_is_written_anew_is_never_another_segment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The syncing thread may come in wherever the lock is free."""

    class Lock:
        """The journal's, whose next user comes as soon as it is free."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.next: list[Callable[[], object]] = []

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()
            if self.next:
                self.next.pop()()

    with opened(tmp_path) as journal:
        add(journal, b"one", b"two")
        (first,) = files(tmp_path)
        kept = first.read_bytes()
        lock = Lock()
        monkeypatch.setattr(journal, "_writing", lock)
        journal.suspect = True
        lock.next.append(journal.sync)
        segment = journal.segment_of(0)
        assert segment is not None
        journal.leave_out(segment)
        assert first.read_bytes() == kept
        add(journal, b"three")
        journal.sync()
        assert entries(journal) == [b"one", b"two", b"three"]


def test_what_cannot_be_taken_back_stands_before_no_later_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writev, failing = os.writev, [True]

    def in_part(file: int, parts: list[bytes]) -> int:
        return os.write(file, b"".join(parts)[:-1]) if failing else writev(file, parts)

    def refuse(_: int, __: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(tmp_path) as journal:
        add(journal, b"one")
        monkeypatch.setattr(os, "writev", in_part)
        with monkeypatch.context() as patched:
            patched.setattr(os, "ftruncate", refuse)
            with pytest.raises(OSError, match="Input/output"):
                add(journal, b"half")
        failing.clear()
        add(journal, b"two", b"three")
        assert entries(journal) == [b"one", b"two", b"three"]
        assert journal.end == 3
    with opened(tmp_path) as journal:
        assert entries(journal) == [b"one", b"two", b"three"]


def test_reading_goes_on_in_a_file_that_was_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(tmp_path) as journal:
        add(journal, b"one")
        cursor = Cursor(journal, 0)
        assert cursor.next() is not None
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", refuse)
            with pytest.raises(OSError, match="Input/output"):
                journal.sync()
        journal.sync()
        add(journal, b"two")
        record = cursor.next()
        assert record is not None
        assert record.payload == b"two"
        cursor.close()


def test_records_without_events_fill_segments_too(tmp_path: Path, tiny: None) -> None:
    """Heartbeats and duplicates hold none; the next segment has a name of its own all the same."""
    with opened(tmp_path) as journal:
        for seq in range(50):
            journal.append(0, b"", {(UID, "a"): seq}, SECOND)
        add(journal, b"one")
        for seq in range(50, 100):
            journal.append(0, b"", {(UID, "a"): seq}, SECOND)
        add(journal, b"two")
        assert len(files(tmp_path)) > 5
        assert journal.events_from(0) == 2
        assert entries(journal) == [b"one", b"two"]
        journal.trim(journal.end)
        assert len(files(tmp_path)) == 1
    with opened(tmp_path) as journal:
        assert journal.marks.get((UID, "a")) == 99


def test_a_full_journal_without_events_takes_more_when_all_is_stored(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        seqs = iter(range(100))
        with pytest.raises(JournalFull):
            any(journal.append(0, b"", {(UID, "a"): seq}, SECOND) for seq in seqs)
        journal.trim(journal.end)
        journal.append(0, b"", {(UID, "a"): 100}, SECOND)
        add(journal, b"one")
        assert entries(journal) == [b"one"]


def test_how_far_it_is_stored_is_known_after_another_start(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        add(journal, *[b"x"] * 10)
        assert journal.committed == 0
        journal.trim(7)
        assert (journal.start, journal.committed) == (0, 7)
    with opened(tmp_path) as journal:
        assert (journal.start, journal.committed) == (0, 7)


@pytest.mark.parametrize("note", [b"", b"x", bytes(28), bytes(100)])
def test_a_note_of_another_content_is_none(tmp_path: Path, note: bytes) -> None:
    with opened(tmp_path) as journal:
        add(journal, *[b"x"] * 10)
        journal.trim(7)
    (tmp_path / "stored").write_bytes(note)
    with opened(tmp_path) as journal:
        assert journal.committed == 0


def test_a_record_without_events_is_safe_only_when_synced(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(0, b"", {(UID, "a"): 7}, SECOND)
        assert (journal.records_appended, journal.records_synced) == (1, 0)
        journal.sync()
        assert journal.records_synced == 1


def test_a_segment_is_on_the_disk_before_the_next_one_s_marks_tell_of_it(
    tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(
        os, "fdatasync", lambda file: (synced.append(os.fstat(file).st_size), fdatasync(file))[1]
    )
    with opened(tmp_path) as journal:
        while len(files(tmp_path)) < 2:
            add(journal, b"x" * 100)
        assert synced == [files(tmp_path)[0].stat().st_size]


def test_syncing_in_a_thread_never_claims_what_came_later(tmp_path: Path, tiny: None) -> None:
    """Nor does it hold up who appends, nor leave a file open."""
    with opened(tmp_path) as journal:
        add(journal, b"x")
        journal.sync()
        open_files = len(os.listdir("/proc/self/fd"))
        done = threading.Event()
        claims: list[tuple[int, int]] = []

        def sync() -> None:
            while not done.is_set():
                claimed = journal.sync()
                claims.append((claimed, journal.end))

        thread = threading.Thread(target=sync)
        thread.start()
        while len(claims) < 50:
            if journal.end - journal.synced < 500:
                add(journal, b"%d" % journal.end)
            else:
                os.sched_yield()
        done.set()
        thread.join(30)
        assert not thread.is_alive()
        assert all(claimed <= end for claimed, end in claims)
        assert claims == sorted(claims)
        journal.sync()
        assert len(os.listdir("/proc/self/fd")) == open_files
        assert entries(journal)[1:] == [b"%d" % number for number in range(1, journal.end)]


@settings(deadline=None)  # files take their time
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 4), st.binary(max_size=150)),
            st.tuples(st.just("release"), st.integers(0, 60), st.just(b"")),
            st.tuples(st.just("skip"), st.integers(1, 4), st.just(b"")),
            st.tuples(st.just("reopen"), st.just(0), st.just(b"")),
            st.tuples(st.just("sync"), st.just(0), st.just(b"")),
        ),
        max_size=40,
    )
)
def test_it_holds_what_a_list_would(steps: list[tuple[str, int, bytes]]) -> None:
    model: list[tuple[int, bytes]] = []
    released = 0
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", 200)
        journal = journal_module.Journal(directory, 10**9, 0)
        for step, number, entry in steps:
            if step == "append":
                model.append((journal.append(number, entry, {}, SECOND), entry))
            elif step == "release":
                if model:
                    released = max(released, model[min(number, len(model) - 1)][0])
                    journal.trim(released)
            elif step == "skip":
                journal.skip(number)
            elif step == "sync":
                assert journal.sync() == journal.end
            else:
                journal.close()
                journal = journal_module.Journal(directory, 10**9, 0)
            waits = [record for record in model if record[0] >= released]
            assert held(journal, released) == waits
            for position, _ in model[-3:]:
                later = [record for record in model if record[0] >= max(position, released)]
                assert held(journal, max(position, released)) == later
        journal.close()


def test_files_can_be_read_by_their_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "journal"
    with opened(directory) as journal:
        add(journal, b"x")
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in files(directory)} == {0o600}
