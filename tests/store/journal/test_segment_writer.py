"""The segment that is written: syncs, rewrites after a failure, full disks."""

import errno
import os
import resource
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from store.journals import (
    SECOND,
    UID,
    add,
    files,
    marks_of,
    opened,
    payloads,
    set_aside,
)

from aegisd.store.journal import journal as journal_module
from aegisd.store.journal.journal import Journal


class ContestedLock:
    """A lock that the next user takes as soon as it is free."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.next: list[Callable[[], object]] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if self.next:
            self.next.pop()()


# syncing


def test_sync_counts_all_appended_records(tmp_path: Path, small_segments: None) -> None:
    with opened(tmp_path) as journal:
        assert journal.records_synced == 0
        for _ in range(3):
            add(journal, *[b"x"] * 20)
            assert journal.records_synced < journal.records_appended == journal.end
            journal.sync()
            assert journal.records_synced == journal.records_appended


def test_record_without_events_counts_as_synced_only_after_sync(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(0, b"", {(UID, "a"): 7}, SECOND)
        assert (journal.records_appended, journal.records_synced) == (1, 0)
        journal.sync()
        assert journal.records_synced == 1


def test_segment_is_synced_before_the_next_begins(
    tmp_path: Path, small_segments: None, monkeypatch: pytest.MonkeyPatch
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


def test_sync_in_a_thread_never_counts_later_records(tmp_path: Path, small_segments: None) -> None:
    """It does not hold up appends, and leaves no file open."""
    with opened(tmp_path) as journal:
        add(journal, b"x")
        journal.sync()
        open_files = len(os.listdir("/proc/self/fd"))
        done = threading.Event()
        claims: list[tuple[int, int, int]] = []

        def sync() -> None:
            while not done.is_set():
                appended = journal.records_appended
                journal.sync()
                claims.append((appended, journal.records_synced, journal.records_appended))

        thread = threading.Thread(target=sync)
        thread.start()
        while len(claims) < 50:
            if journal.records_appended - journal.records_synced < 500:
                add(journal, b"%d" % journal.end)
            else:
                os.sched_yield()
        done.set()
        thread.join(30)
        assert not thread.is_alive()
        assert all(before <= synced <= after for before, synced, after in claims)
        assert claims == sorted(claims)
        journal.sync()
        assert len(os.listdir("/proc/self/fd")) == open_files
        assert payloads(journal)[1:] == [b"%d" % number for number in range(1, journal.end)]


# rewriting


def test_records_of_a_failed_sync_count_only_after_a_rewrite(
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
        assert (journal.records_synced, journal._last.suspect) == (0, True)
        add(journal, b"three")
        journal.sync()
        assert (journal.records_synced, journal._last.suspect) == (3, False)
        # for the first file, fdatasync would succeed without the data
        assert before not in inodes
        add(journal, b"four")
        assert payloads(journal) == [b"one", b"two", b"three", b"four"]
    with opened(tmp_path) as journal:
        assert payloads(journal) == [b"one", b"two", b"three", b"four"]


def test_segment_of_a_failed_sync_is_rewritten_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports a failed write once: a second fdatasync would succeed without the data."""
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
        # the page cache may have dropped it too
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
        assert payloads(journal) == [b"one", b"two", b"three", b"four"]
    with opened(tmp_path) as journal:
        assert payloads(journal) == [b"one", b"two", b"three", b"four"]


def test_rewrite_while_a_segment_begins_replaces_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The syncing thread may take the lock whenever it is free."""
    with opened(tmp_path) as journal:
        add(journal, b"one", b"two")
        (first,) = files(tmp_path)
        kept = first.read_bytes()
        lock = ContestedLock()
        monkeypatch.setattr(journal._last, "_writing", lock)
        journal._last.suspect = True
        lock.next.append(journal.sync)
        segment = journal.segment_at(0)
        assert segment is not None
        journal.mark_damaged(segment)
        assert first.read_bytes() == kept
        add(journal, b"three")
        journal.sync()
        assert payloads(journal) == [b"one", b"two", b"three"]


def test_no_file_is_synced_again_after_a_failure_while_a_segment_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync that fails comes between the steps in which trio's thread leaves a segment."""
    fdatasync, synced, failed = os.fdatasync, set(), set()

    def fail_first(file: int) -> None:
        inode = os.fstat(file).st_ino
        if not failed:
            failed.add(inode)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        synced.add(inode)
        fdatasync(file)

    def sync() -> None:
        with suppress(OSError):
            journal.sync()

    with opened(tmp_path) as journal:
        add(journal, b"one")
        lock = ContestedLock()
        monkeypatch.setattr(journal._last, "_syncing", lock)
        monkeypatch.setattr(os, "fdatasync", fail_first)
        monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
        lock.next.append(sync)
        with suppress(OSError):
            add(journal, b"two")
        journal.sync()
        assert failed
        assert not failed & synced
        assert payloads(journal)[0] == b"one"


def test_torn_write_is_rewritten_before_the_next_record(
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
        assert payloads(journal) == [b"one", b"two", b"three"]
        assert journal.end == 3
    with opened(tmp_path) as journal:
        assert payloads(journal) == [b"one", b"two", b"three"]


# full disks


@pytest.mark.parametrize("size", [100, 5000, 300_000])
@pytest.mark.parametrize("segment_bytes", [2000, 2**26])
def test_full_disk_raises_and_keeps_no_part_of_a_record(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, size: int, segment_bytes: int
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", segment_bytes)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    with opened(small_disk / "journal") as journal:
        made = fill(journal, size)
        end, bytes_ = journal.end, journal.bytes
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                add(journal, bytes(400_000), a=10**6)
        assert (journal.end, journal.bytes) == (end, bytes_)
        assert bytes_ == sum(file.stat().st_size for file in files(small_disk / "journal"))
        assert marks_of(journal, "a") == {"a": len(made)}
        assert payloads(journal) == made

        ballast.unlink()
        made.append(b"now there is room")
        add(journal, made[-1], b=1)
        assert payloads(journal) == made
    with opened(small_disk / "journal") as journal:
        assert payloads(journal) == made
        assert marks_of(journal, "a", "b") == {"a": len(made) - 1, "b": 1}
    assert set_aside(small_disk / "journal") == []


def test_full_disk_takes_records_after_trim(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 100_000)
    with opened(small_disk / "journal") as journal:
        for _ in range(3):
            assert len(fill(journal, 5000)) > 50
            journal.trim(journal.end)
            journal.sync()
        add(journal, b"last")


def test_write_cut_short_is_taken_back(tmp_path: Path) -> None:
    """A limit to the size of files does what a full disk may do: only a part is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as journal:
        add(journal, b"one")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            for _ in range(3):
                with pytest.raises(OSError, match=r"No space left|File too large"):
                    add(journal, bytes(5000), a=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        (file,) = files(tmp_path)
        assert file.stat().st_size == journal.bytes < 1000
        add(journal, b"two")
        assert payloads(journal) == [b"one", b"two"]
        assert marks_of(journal, "a") == {"a": None}


def fill(journal: Journal, size: int) -> list[bytes]:
    """Append until the disk is full; return what was appended."""
    made = []
    for number in range(10_000):
        payload = b"%06d" % number + bytes(size)
        try:
            add(journal, payload, a=number + 1)
        except OSError:
            return made
        made.append(payload)
    pytest.fail("the disk is never full")
