"""The journal and what befalls its files: torn ends, changed bytes, lost and foreign files."""

import json
import shutil
from pathlib import Path

import pytest
from store.journals import (
    add,
    aside,
    entries,
    files,
    flip,
    held,
    known,
    opened,
)
from structlog.testing import capture_logs

from aegisd.store.journal import journal as journal_module
from aegisd.store.journal.cursor import Cursor
from aegisd.store.journal.journal import IDENTITY
from aegisd.store.journal.segments import HEAD_BYTES, record

HEADER_BYTES = len(b"".join(record(0, 1, 0, b"", b"")))
LAST = b"the last one"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A journal of three segments, of four, four and two records of ten events each."""
    directory = tmp_path / "journal"
    with pytest.MonkeyPatch.context() as patch, opened(directory) as journal:
        for number in range(10):
            full = number in {4, 8}
            patch.setattr(journal_module, "SEGMENT_BYTES", 0 if full else 2**20)
            add(journal, b"entry %d" % number, events=10, source=number)
    assert [int(path.stem) for path in files(directory)] == [0, 40, 80]
    return directory


def numbered(*ranges: range) -> list[bytes]:
    return [b"entry %d" % number for range_ in ranges for number in range_]


# the end


def test_a_last_record_that_was_not_written_to_its_end_is_cut_off(tmp_path: Path) -> None:
    """At every byte; what was before is there, and it goes on."""
    whole = tmp_path / "whole"
    with opened(whole) as journal:
        add(journal, b"one", b"two", a=1)
        size = journal.figures.bytes
        add(journal, LAST, a=9, b=9)
        length = journal.figures.bytes - size
    for cut in range(1, length):
        directory = tmp_path / "cut"
        directory.mkdir()
        shutil.copytree(whole, directory, dirs_exist_ok=True)
        (file,) = files(directory)
        own(directory)
        file.write_bytes(file.read_bytes()[:-cut])
        with opened(directory) as journal:
            assert entries(journal) == [b"one", b"two"]
            assert known(journal, "a", "b") == {"a": 1, "b": None}
            assert journal.figures.corrupt_files == 0
            add(journal, b"three", b=2)
            assert entries(journal) == [b"one", b"two", b"three"]
        with opened(directory) as journal:
            assert entries(journal) == [b"one", b"two", b"three"]
            assert known(journal, "a", "b") == {"a": 1, "b": 2}
            assert journal.figures.lost == 0
        assert aside(directory) == []
        shutil.rmtree(directory)


def own(directory: Path) -> None:
    """Let a copy be no copy."""
    identity = directory / IDENTITY
    noted = json.loads(identity.read_text())
    identity.write_text(json.dumps(noted | {"inode": directory.stat().st_ino}))


def test_a_segment_that_was_just_begun_may_be_torn_too(made: Path) -> None:
    """At every byte of its head; the one before tells the marks."""
    last = files(made)[-1]
    begun = last.read_bytes()[: HEAD_BYTES + HEADER_BYTES]
    for size in range(len(begun)):
        for later in files(made):
            if later.stem >= last.stem:
                later.unlink()
        last.write_bytes(begun[:size])
        with opened(made) as journal:
            assert entries(journal) == numbered(range(8))
            assert known(journal, "source") == {"source": 7}
            assert journal.figures.lost == 0


def test_an_end_that_is_damaged_otherwise_is_kept_beside(made: Path) -> None:
    flip(files(made)[-1], -1)
    with capture_logs() as logs, opened(made) as journal:
        assert entries(journal) == numbered(range(9))
        assert journal.figures.corrupt_files == 1
        add(journal, b"more")
        assert entries(journal)[-1] == b"more"
    assert [line["event"] for line in logs] == ["the journal's end was damaged and is set aside"]
    (kept,) = aside(made)
    assert b"entry 9"[:-1] in kept.read_bytes()


# the middle


def test_a_changed_byte_in_a_middle_segment_costs_what_stands_behind_it(made: Path) -> None:
    """At every byte: what is before in the file and all other files are read, the rest is told."""
    middle = files(made)[1]
    whole = middle.read_bytes()
    for offset in range(len(whole)):
        middle.write_bytes(whole)
        flip(middle, offset)
        with capture_logs() as logs, opened(made) as journal:
            found = entries(journal)
            before = [entry for entry in numbered(range(4, 8)) if entry in found]
            assert before == numbered(range(4, 4 + len(before)))
            assert found == numbered(range(4)) + before + numbered(range(8, 10))
            assert journal.figures.corrupt_files == 1
            assert middle.exists(), "until the database has what was read from it"
            assert len(logs) == 1
        assert len(before) < 4
        with capture_logs(), opened(made) as journal:
            assert entries(journal) == found


def test_a_damaged_segment_is_set_aside_when_what_was_read_from_it_is_released(
    made: Path,
) -> None:
    middle = files(made)[1]
    whole = middle.read_bytes()
    flip(middle, whole.index(b"entry 6"))
    with capture_logs(), opened(made) as journal:
        assert entries(journal) == numbered(range(6), range(8, 10))
        journal.trim(60)
        assert middle.exists()
        journal.trim(80)
        assert aside(made) == [middle.with_suffix(".segment.corrupt")]
        assert entries(journal, 80) == numbered(range(8, 10))
        assert journal.figures.bytes == sum(f.stat().st_size for f in files(made))
    with opened(made) as journal:
        assert entries(journal, 80) == numbered(range(8, 10))
        assert journal.figures.corrupt_files == 0


@pytest.mark.parametrize("offset", [0, HEAD_BYTES - 1, HEAD_BYTES + 5, -1])
def test_damage_in_the_segment_that_is_written_costs_no_later_record(
    tmp_path: Path, offset: int
) -> None:
    with capture_logs(), opened(tmp_path) as journal:
        add(journal, b"one")
        flip(files(tmp_path)[0], offset)
        assert entries(journal) == []
        add(journal, b"two")
        assert entries(journal) == [b"two"]
        journal.trim(2)
        assert len(aside(tmp_path)) == 1
        assert entries(journal, 1) == [b"two"]


@pytest.mark.parametrize("offset", [0, HEAD_BYTES - 1, -1])
def test_damage_in_a_segment_that_was_just_begun_costs_nothing(made: Path, offset: int) -> None:
    with capture_logs(), opened(made) as journal:
        flip(files(made)[-1], offset)  # it has no events yet
        assert entries(journal) == numbered(range(10))
        add(journal, b"more")
        assert entries(journal) == [*numbered(range(10)), b"more"]
        assert journal.events_from(0) == 101
    with capture_logs(), opened(made) as journal:
        assert entries(journal) == [*numbered(range(10)), b"more"]


@pytest.mark.parametrize("missing", [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]])
def test_a_segment_that_is_missing_leaves_the_others(made: Path, missing: list[int]) -> None:
    there = files(made)
    for number in missing:
        there[number].unlink()
    expected = [
        entry
        for number, range_ in enumerate((range(4), range(4, 8), range(8, 10)))
        if number not in missing
        for entry in numbered(range_)
    ]
    with opened(made) as journal:
        assert entries(journal) == expected
        add(journal, b"more")
        assert entries(journal) == [*expected, b"more"]


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_a_segment_that_somebody_deletes_now_leaves_the_others(made: Path, missing: int) -> None:
    with capture_logs() as logs, opened(made) as journal:
        add(journal, b"more", events=10)
        files(made)[missing].unlink()
        ranges = (range(4), range(4, 8), range(8, 10))
        kept = [r for number, r in enumerate(ranges) if number != missing]
        more = [] if missing == 3 else [b"more"]
        assert entries(journal) == numbered(*kept) + more
        add(journal, b"last")
        assert entries(journal) == [*numbered(*kept), *more, b"last"]
        journal.trim(journal.end)
        assert len(files(made)) == 1
        assert journal.figures.bytes == files(made)[0].stat().st_size
    assert len(logs) == 1


def test_a_file_that_cannot_be_opened_now_is_read_later(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with too many files open: it is not damaged."""
    with opened(made) as journal:
        cursor = Cursor(journal, 0)
        first = cursor.next()
        assert first is not None
        middle = files(made)[1]
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
        assert record_.payload == b"entry 4"
        assert journal.figures.corrupt_files == 0
        cursor.close()


# whose it is


@pytest.mark.parametrize(
    "identity",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"5",
        b'{"uuid": "no uuid", "inode": 1}',
        b'{"inode": 1}',
        b'{"uuid": 5}',
    ],
)
def test_without_its_identity_it_begins_anew_and_keeps_the_files_aside(
    made: Path, identity: bytes | None
) -> None:
    old = uuid_of(made)
    file = made / IDENTITY
    if identity is None:
        file.unlink()
    else:
        file.write_bytes(identity.replace(b'"inode": 1', b'"inode": %d' % made.stat().st_ino))
    assert_begins_anew(made, old)


@pytest.mark.parametrize("uuid", [5, None, [], "x"])
def test_an_identity_of_another_type_is_none(made: Path, uuid: object) -> None:
    old = uuid_of(made)
    noted = {"uuid": uuid, "inode": made.stat().st_ino}
    (made / IDENTITY).write_text(json.dumps(noted))
    assert_begins_anew(made, old)


def test_a_copy_is_another_journal_and_leaves_the_events_to_the_first(
    made: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    assert_begins_anew(copy, uuid_of(made))
    with opened(made) as journal:
        assert entries(journal) == numbered(range(10))


def test_a_directory_that_was_moved_is_the_same_journal(made: Path, tmp_path: Path) -> None:
    old = uuid_of(made)
    moved = made.rename(tmp_path / "elsewhere")
    with opened(moved) as journal:
        assert str(journal.uuid) == old
        assert entries(journal) == numbered(range(10))


def test_an_emptied_directory_is_another_journal(made: Path) -> None:
    old = uuid_of(made)
    for file in files(made):
        file.unlink()
    with opened(made) as journal:
        assert str(journal.uuid) != old
        assert held(journal) == []


def test_a_segment_of_another_journal_is_not_read(made: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "other", now=30) as other:
        add(other, b"foreign", events=10)
    (foreign,) = files(tmp_path / "other")
    shutil.copy(foreign, made / foreign.name)
    with capture_logs(), opened(made) as journal:
        assert entries(journal) == numbered(range(10))


def uuid_of(directory: Path) -> str:
    uuid: str = json.loads((directory / IDENTITY).read_text())["uuid"]
    return uuid


def assert_begins_anew(directory: Path, old: str) -> None:
    names = [file.name for file in files(directory)]
    with capture_logs() as logs, opened(directory) as journal:
        assert str(journal.uuid) != old
        assert held(journal) == []
        assert journal.figures.corrupt_files == len(names)
        assert [file.name for file in aside(directory)] == [f"{name}.corrupt" for name in names]
        add(journal, b"new", a=1)
        uuid = journal.uuid
    assert {line["log_level"] for line in logs} == {"error"}
    with opened(directory) as journal:
        assert journal.uuid == uuid
        assert entries(journal) == [b"new"]
