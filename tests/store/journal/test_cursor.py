"""The cursor: reading from any position, past damage and missing files."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from store.journals import (
    SECOND,
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

from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.segments import HEAD_BYTES


@pytest.mark.parametrize("position", [0, 1, 17, 49, 50])
def test_cursor_starts_at_any_position(tmp_path: Path, small_segments: None, position: int) -> None:
    with opened(tmp_path) as journal:
        add(journal, *(b"%d" % number for number in range(50)))
        assert payloads(journal, position) == [b"%d" % number for number in range(position, 50)]


def test_record_that_straddles_the_position_is_read_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        add(journal, b"a", b"b", events=10)
        assert placed_payloads(journal, 9) == [(0, b"a"), (10, b"b")]
        assert placed_payloads(journal, 10) == [(10, b"b")]


def test_cursor_at_the_end_reads_the_next_record(tmp_path: Path, small_segments: None) -> None:
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


def test_cursor_reads_on_in_a_rewritten_file(
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


# damage


def test_changed_byte_in_a_middle_segment_costs_the_records_behind_it(three_segments: Path) -> None:
    """For each byte: the records before it and all other files are read, and one line is logged."""
    middle = files(three_segments)[1]
    whole = middle.read_bytes()
    for offset in range(len(whole)):
        middle.write_bytes(whole)
        flip_byte(middle, offset)
        with capture_logs() as logs, opened(three_segments) as journal:
            found = payloads(journal)
            before = [payload for payload in numbered_payloads(range(4, 8)) if payload in found]
            assert before == numbered_payloads(range(4, 4 + len(before)))
            assert found == numbered_payloads(range(4)) + before + numbered_payloads(range(8, 10))
            assert middle.exists(), "until the database has what was read from it"
            assert len(logs) == 1
        assert len(before) < 4
        with capture_logs(), opened(three_segments) as journal:
            assert payloads(journal) == found


@pytest.mark.parametrize("offset", [0, HEAD_BYTES - 1, HEAD_BYTES + 5, -1])
def test_damage_in_the_last_segment_costs_no_later_record(tmp_path: Path, offset: int) -> None:
    with capture_logs(), opened(tmp_path) as journal:
        add(journal, b"one")
        flip_byte(files(tmp_path)[0], offset)
        assert payloads(journal) == []
        add(journal, b"two")
        assert payloads(journal) == [b"two"]
        journal.trim(2)
        assert len(set_aside(tmp_path)) == 1
        assert payloads(journal, 1) == [b"two"]


@pytest.mark.parametrize("offset", [0, HEAD_BYTES - 1, -1])
def test_damage_in_a_segment_without_events_costs_no_record(
    three_segments: Path, offset: int
) -> None:
    with capture_logs(), opened(three_segments) as journal:
        flip_byte(files(three_segments)[-1], offset)  # no event was appended to it yet
        assert payloads(journal) == numbered_payloads(range(10))
        add(journal, b"more")
        assert payloads(journal) == [*numbered_payloads(range(10)), b"more"]
        assert journal.events_from(0) == 101
    with capture_logs(), opened(three_segments) as journal:
        assert payloads(journal) == [*numbered_payloads(range(10)), b"more"]


def test_segment_of_another_journal_is_not_read(three_segments: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "other", now=30) as other:
        add(other, b"foreign", events=10)
    (foreign,) = files(tmp_path / "other")
    shutil.copy(foreign, three_segments / foreign.name)
    with capture_logs(), opened(three_segments) as journal:
        assert payloads(journal) == numbered_payloads(range(10))


# missing files


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_segment_deleted_while_open_leaves_the_others(three_segments: Path, missing: int) -> None:
    with capture_logs() as logs, opened(three_segments) as journal:
        add(journal, b"more", events=10)
        files(three_segments)[missing].unlink()
        ranges = (range(4), range(4, 8), range(8, 10))
        kept = [r for number, r in enumerate(ranges) if number != missing]
        more = [] if missing == 3 else [b"more"]
        assert payloads(journal) == numbered_payloads(*kept) + more
        add(journal, b"last")
        assert payloads(journal) == [*numbered_payloads(*kept), *more, b"last"]
        journal.trim(journal.end)
        assert len(files(three_segments)) == 1
        assert journal.bytes == files(three_segments)[0].stat().st_size
    assert len(logs) == 1


def test_file_that_cannot_be_opened_now_is_read_later(
    three_segments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where too many files are open: it is not marked as damaged."""
    with capture_logs() as logs, opened(three_segments) as journal:
        cursor = Cursor(journal, 0)
        first = cursor.next()
        assert first is not None
        middle = files(three_segments)[1]
        hidden = middle.with_suffix(".hidden")
        middle.rename(hidden)
        middle.symlink_to(middle)  # a loop: ELOOP
        for _ in range(3):
            assert cursor.next() is not None
        with pytest.raises(OSError, match="Too many levels"):
            cursor.next()
        middle.unlink()
        hidden.rename(middle)
        record_ = cursor.next()
        assert record_ is not None
        assert record_.payload == b"block 4"
        cursor.close()
    assert logs == []
