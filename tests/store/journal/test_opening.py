"""The journal's start: whose directory it is, where the journal ends, what is set aside."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store.cluster import PROJECT
from store.journals import (
    SECOND,
    add,
    files,
    flip_byte,
    marks_of,
    numbered_payloads,
    opened,
    payloads,
    placed_payloads,
    set_aside,
)
from structlog.testing import capture_logs

from aegisd.errors import AegisdError
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.opening import IDENTITY, POSITIONS_LEFT_OUT
from aegisd.store.journal.segments import HEAD_BYTES, pack_record

HEADER_BYTES = len(b"".join(pack_record(0, 1, 0, b"", b"")))
LAST = b"the last one"

HOLDER = """
import sys, trio
from pathlib import Path
from aegisd.store.journal.journal import Journal

journal = Journal(Path(sys.argv[1]), 2**30, 0)
journal.append(1, b"of the other", {}, 0)
print("held", flush=True)
sys.stdin.read()
"""


def test_file_in_place_of_the_directory_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AegisdError, match=r"can't use the journal in .*file"):
        Journal(tmp_path / "file", 2**30, 0)


def test_full_disk_at_the_start_raises(small_disk: Path) -> None:
    (small_disk / "journal").mkdir()
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        assert 0 < ballast.write(bytes(2**21)) <= 2**20
    with pytest.raises(AegisdError, match=r"No space left on device; set storage\.journal"):
        Journal(small_disk / "journal", 2**30, 0)


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "journal"
    with opened(directory) as journal:
        add(journal, b"x")
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in files(directory)} == {0o600}


def test_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for _ in range(2):
            with pytest.raises(AegisdError, match=rf"in use by process {other.pid}; stop it"):
                Journal(tmp_path, 2**30, 0)
        other.kill()
    with opened(tmp_path) as journal:  # a dead process holds no lock
        assert payloads(journal) == [b"of the other"]
        journal.append(1, b"ours", {}, SECOND)
        with pytest.raises(AegisdError, match=rf"in use by process {os.getpid()};"):
            Journal(tmp_path, 2**30, 0)


# restart


@pytest.mark.parametrize("rounds", [1, 3])
def test_restart_keeps_all_records_and_leaves_a_gap(
    tmp_path: Path, small_segments: None, rounds: int
) -> None:
    expected: list[bytes] = []
    ends = []
    for start in range(rounds):
        with opened(tmp_path) as journal:
            uuid = journal.uuid
            made = [b"%d %d" % (start, number) for number in range(20)]
            add(journal, *made)
            expected += made
            ends.append(journal.end)
    with capture_logs() as logs, opened(tmp_path) as journal:
        assert journal.uuid == uuid
        assert payloads(journal) == expected
        assert journal.end == ends[-1] + POSITIONS_LEFT_OUT, "no position is given twice"
        assert journal.events_from(0) == len(expected), "gaps are no events"
    assert (logs, set_aside(tmp_path)) == ([], [])


def test_first_position_after_restart_is_the_clock(tmp_path: Path) -> None:
    later = 1_790_000_000_000_000
    with opened(tmp_path) as journal:
        add(journal, b"a")
    with opened(tmp_path, now=later) as journal:
        assert journal.end == later
        add(journal, b"b")
        assert placed_payloads(journal) == [(0, b"a"), (later, b"b")]


def test_restart_keeps_marks(tmp_path: Path, small_segments: None) -> None:
    with opened(tmp_path) as journal:
        add(journal, b"x", a=5, b=1)
        add(journal, *(b"%d" % number for number in range(30)))
        add(journal, b"y", b=7)
        add(journal, b"", events=0, c=3)
        journal.trim(journal.end)
        expected = {"a": 5, "b": 7, "c": 3, "d": None}
        assert marks_of(journal, *expected) == expected
    for _ in range(3):
        with opened(tmp_path) as journal:
            assert marks_of(journal, *expected) == expected


# the end


def test_record_cut_short_at_the_end_is_cut_off(tmp_path: Path) -> None:
    """For each byte: the records before it are kept, and appends go on."""
    whole = tmp_path / "whole"
    with opened(whole) as journal:
        add(journal, b"one", b"two", a=1)
        size = journal.bytes
        add(journal, LAST, a=9, b=9)
        length = journal.bytes - size
    for cut in range(1, length):
        directory = tmp_path / "cut"
        directory.mkdir()
        shutil.copytree(whole, directory, dirs_exist_ok=True)
        (file,) = files(directory)
        own(directory)
        file.write_bytes(file.read_bytes()[:-cut])
        with opened(directory) as journal:
            assert payloads(journal) == [b"one", b"two"]
            assert marks_of(journal, "a", "b") == {"a": 1, "b": None}
            add(journal, b"three", b=2)
            assert payloads(journal) == [b"one", b"two", b"three"]
        with opened(directory) as journal:
            assert payloads(journal) == [b"one", b"two", b"three"]
            assert marks_of(journal, "a", "b") == {"a": 1, "b": 2}
        assert set_aside(directory) == []
        shutil.rmtree(directory)


def test_segment_torn_at_its_beginning_leaves_the_one_before(three_segments: Path) -> None:
    """For each byte of its beginning: the marks come from the segment before."""
    last = files(three_segments)[-1]
    begun = last.read_bytes()[: HEAD_BYTES + HEADER_BYTES]
    for size in range(len(begun)):
        for later in files(three_segments):
            if later.stem >= last.stem:
                later.unlink()
        last.write_bytes(begun[:size])
        with opened(three_segments) as journal:
            assert payloads(journal) == numbered_payloads(range(8))
            assert marks_of(journal, "source") == {"source": 7}


def test_damaged_record_at_the_end_is_kept_beside(three_segments: Path) -> None:
    flip_byte(files(three_segments)[-1], -1)
    with capture_logs() as logs, opened(three_segments) as journal:
        assert payloads(journal) == numbered_payloads(range(9))
        add(journal, b"more")
        assert payloads(journal)[-1] == b"more"
    assert [line["event"] for line in logs] == ["the journal's end was damaged and is set aside"]
    (kept,) = set_aside(three_segments)
    assert b"block 9"[:-1] in kept.read_bytes()


@pytest.mark.parametrize("missing", [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]])
def test_missing_segment_leaves_the_others(three_segments: Path, missing: list[int]) -> None:
    there = files(three_segments)
    for number in missing:
        there[number].unlink()
    expected = [
        payload
        for number, range_ in enumerate((range(4), range(4, 8), range(8, 10)))
        if number not in missing
        for payload in numbered_payloads(range_)
    ]
    with opened(three_segments) as journal:
        assert payloads(journal) == expected
        add(journal, b"more")
        assert payloads(journal) == [*expected, b"more"]


# identity


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
def test_unreadable_identity_begins_a_new_journal_and_sets_files_aside(
    three_segments: Path, identity: bytes | None
) -> None:
    old = uuid_of(three_segments)
    file = three_segments / IDENTITY
    if identity is None:
        file.unlink()
    else:
        file.write_bytes(
            identity.replace(b'"inode": 1', b'"inode": %d' % three_segments.stat().st_ino)
        )
    assert_begins_anew(three_segments, old)


@pytest.mark.parametrize("uuid", [5, None, [], "x"])
def test_identity_of_another_type_begins_a_new_journal(three_segments: Path, uuid: object) -> None:
    old = uuid_of(three_segments)
    noted = {"uuid": uuid, "inode": three_segments.stat().st_ino}
    (three_segments / IDENTITY).write_text(json.dumps(noted))
    assert_begins_anew(three_segments, old)


def test_copied_directory_is_another_journal(three_segments: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(three_segments, copy)
    assert_begins_anew(copy, uuid_of(three_segments))
    with opened(three_segments) as journal:
        assert payloads(journal) == numbered_payloads(range(10))


def test_moved_directory_is_the_same_journal(three_segments: Path, tmp_path: Path) -> None:
    old = uuid_of(three_segments)
    moved = three_segments.rename(tmp_path / "elsewhere")
    with opened(moved) as journal:
        assert str(journal.uuid) == old
        assert payloads(journal) == numbered_payloads(range(10))


def test_emptied_directory_is_another_journal(three_segments: Path) -> None:
    old = uuid_of(three_segments)
    for file in files(three_segments):
        file.unlink()
    with opened(three_segments) as journal:
        assert str(journal.uuid) != old
        assert placed_payloads(journal) == []


def own(directory: Path) -> None:
    """Note the directory's own inode, so that it is not taken for a copy."""
    identity = directory / IDENTITY
    noted = json.loads(identity.read_text())
    identity.write_text(json.dumps(noted | {"inode": directory.stat().st_ino}))


def uuid_of(directory: Path) -> str:
    uuid: str = json.loads((directory / IDENTITY).read_text())["uuid"]
    return uuid


def assert_begins_anew(directory: Path, old: str) -> None:
    names = [file.name for file in files(directory)]
    with capture_logs() as logs, opened(directory) as journal:
        assert str(journal.uuid) != old
        assert placed_payloads(journal) == []
        assert [file.name for file in set_aside(directory)] == [f"{name}.corrupt" for name in names]
        add(journal, b"new", a=1)
        uuid = journal.uuid
    assert {line["log_level"] for line in logs} == {"error"}
    with opened(directory) as journal:
        assert journal.uuid == uuid
        assert payloads(journal) == [b"new"]
