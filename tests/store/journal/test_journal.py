"""The journal: records in order, its bound, what trim deletes."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.journals import (
    SECOND,
    UID,
    add,
    files,
    flip_byte,
    numbered_payloads,
    opened,
    payloads,
    placed_payloads,
    set_aside,
)
from structlog.testing import capture_logs
from support import short_directory

from aegisd.store.journal import journal as journal_module
from aegisd.store.journal.journal import JournalFull


def test_appended_records_are_read_in_order(tmp_path: Path) -> None:
    with opened(tmp_path, now=5) as journal:
        assert journal.append(2, b"one", {}, SECOND) == 5
        assert journal.append(3, b"two", {}, SECOND) == 7
        assert journal.end == 10
        assert placed_payloads(journal) == [(5, b"one"), (7, b"two")]
        assert journal.events_from(0) == 5
        assert journal.events_from(6) == 4


def test_payload_of_any_bytes_is_read_unchanged(tmp_path: Path) -> None:
    odd = [b"", bytes(5000), b"AEGISDJ1", os.urandom(100_000)]
    with opened(tmp_path) as journal:
        add(journal, *odd)
        assert payloads(journal) == odd


def test_skipped_positions_have_no_record(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        add(journal, b"a")
        assert journal.skip(7) == 1
        add(journal, b"b")
        assert placed_payloads(journal) == [(0, b"a"), (8, b"b")]


def test_records_without_events_fill_segments_with_names_of_their_own(
    tmp_path: Path, small_segments: None
) -> None:
    """Heartbeats and duplicates have no events; two segments never get the same name."""
    with opened(tmp_path) as journal:
        for seq in range(50):
            journal.append(0, b"", {(UID, "a"): seq}, SECOND)
        add(journal, b"one")
        for seq in range(50, 100):
            journal.append(0, b"", {(UID, "a"): seq}, SECOND)
        add(journal, b"two")
        assert len(files(tmp_path)) > 5
        assert journal.events_from(0) == 2
        assert payloads(journal) == [b"one", b"two"]
        journal.trim(journal.end)
        assert len(files(tmp_path)) == 1
    with opened(tmp_path) as journal:
        assert journal.marks.get((UID, "a")) == 99


def test_segment_that_could_not_begin_at_first_counts_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, __: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
    with opened(tmp_path) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", refuse)
            with pytest.raises(OSError, match="No space"):
                add(journal, b"", events=0)
        add(journal, b"", events=0)
        assert len(files(tmp_path)) == 2
        assert journal.events_from(0) == 0


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
def test_any_steps_hold_what_a_list_would(steps: list[tuple[str, int, bytes]]) -> None:
    model: list[tuple[int, bytes]] = []
    released = 0
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", 200)
        journal = journal_module.Journal(directory, 10**9, 0)
        for step, number, payload in steps:
            if step == "append":
                model.append((journal.append(number, payload, {}, SECOND), payload))
            elif step == "release":
                if model:
                    released = max(released, model[min(number, len(model) - 1)][0])
                    journal.trim(released)
            elif step == "skip":
                journal.skip(number)
            elif step == "sync":
                journal.sync()
                assert journal.records_synced == journal.records_appended
            else:
                journal.close()
                journal = journal_module.Journal(directory, 10**9, 0)
            waits = [record for record in model if record[0] >= released]
            assert placed_payloads(journal, released) == waits
            for position, _ in model[-3:]:
                later = [record for record in model if record[0] >= max(position, released)]
                assert placed_payloads(journal, max(position, released)) == later
        journal.close()


# deleting


def test_trim_deletes_only_segments_before_the_position(
    tmp_path: Path, small_segments: None
) -> None:
    with opened(tmp_path) as journal:
        add(journal, *(b"%d" % number for number in range(50)))
        before = len(files(tmp_path))
        for position in range(51):
            journal.trim(position)
            assert journal.start <= position
            assert payloads(journal, position) == [b"%d" % n for n in range(position, 50)]
            assert journal.bytes == sum(f.stat().st_size for f in files(tmp_path))
        assert len(files(tmp_path)) == 1 < before


def test_trim_after_restart_deletes_segments_from_before(
    tmp_path: Path, small_segments: None
) -> None:
    with opened(tmp_path) as journal:
        add(journal, *(b"%d" % number for number in range(50)))
    with opened(tmp_path) as journal:
        journal.trim(50)
        assert len(files(tmp_path)) == 1


def test_damaged_segment_is_set_aside_when_its_events_are_committed(
    three_segments: Path,
) -> None:
    middle = files(three_segments)[1]
    whole = middle.read_bytes()
    flip_byte(middle, whole.index(b"block 6"))
    with capture_logs(), opened(three_segments) as journal:
        assert payloads(journal) == numbered_payloads(range(6), range(8, 10))
        journal.trim(60)
        assert middle.exists()
        journal.trim(80)
        assert set_aside(three_segments) == [middle.with_suffix(".segment.corrupt")]
        assert payloads(journal, 80) == numbered_payloads(range(8, 10))
        assert journal.bytes == sum(f.stat().st_size for f in files(three_segments))
    with capture_logs() as logs, opened(three_segments) as journal:
        assert payloads(journal, 80) == numbered_payloads(range(8, 10))
    assert logs == []


# the bound


def test_record_beyond_max_bytes_is_refused(tmp_path: Path, small_segments: None) -> None:
    with opened(tmp_path, max_bytes=2000) as journal:
        fill(journal)
        size = journal.bytes
        assert 1900 < size <= 2000
        with pytest.raises(JournalFull):
            add(journal, b"")
        assert journal.bytes == size == sum(f.stat().st_size for f in files(tmp_path))


@pytest.mark.parametrize("max_bytes", [400, 2000, 5000])
def test_full_journal_takes_records_after_trim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    with opened(tmp_path, max_bytes=max_bytes) as journal:
        for _ in range(5):
            fill(journal)
            journal.trim(journal.end)


def test_full_journal_refuses_until_a_segment_is_deleted(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        add(journal, b"a")
        with pytest.raises(JournalFull):
            add(journal, bytes(1000))
        with pytest.raises(JournalFull):
            add(journal, b"that would find room")
        journal.trim(0)
        with pytest.raises(JournalFull):
            add(journal, b"b")
        journal.skip(3)  # events that memory alone has
        journal.trim(1)
        journal.skip(5)
        journal.trim(4)
        add(journal, b"c")
        assert placed_payloads(journal, 4) == [(9, b"c")]


def test_journal_full_before_restart_takes_records_when_all_is_committed(
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


def test_full_journal_without_events_takes_records_when_all_is_committed(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=1000) as journal:
        seqs = iter(range(100))
        with pytest.raises(JournalFull):
            any(journal.append(0, b"", {(UID, "a"): seq}, SECOND) for seq in seqs)
        journal.trim(journal.end)
        journal.append(0, b"", {(UID, "a"): 100}, SECOND)
        add(journal, b"one")
        assert payloads(journal) == [b"one"]


def fill(journal: journal_module.Journal) -> None:
    for _ in range(1000):
        try:
            add(journal, bytes(20))
        except JournalFull:
            return
    pytest.fail("it is never full")
