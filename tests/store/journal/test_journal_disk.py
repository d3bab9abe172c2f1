"""The journal on a disk that is full, and in the hands of two processes."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.cluster import PROJECT
from store.journals import SECOND, add, entries, files, known, opened

from aegisd.errors import AegisdError
from aegisd.store.journal import journal as journal_module
from aegisd.store.journal.journal import Journal

HOLDER = """
import sys, trio
from pathlib import Path
from aegisd.store.journal.journal import Journal

journal = Journal(Path(sys.argv[1]), 2**30, 0)
journal.append(1, b"of the other", {}, 0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a mebibyte."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def fill(journal: Journal, size: int) -> list[bytes]:
    """Append until the disk is full; what was appended."""
    made = []
    for number in range(10_000):
        entry = b"%06d" % number + bytes(size)
        try:
            add(journal, entry, a=number + 1)
        except OSError:
            return made
        made.append(entry)
    pytest.fail("the disk is never full")


@pytest.mark.parametrize("size", [100, 5000, 300_000])
@pytest.mark.parametrize("segment_bytes", [2000, 2**26])
def test_a_full_disk_is_told_and_nothing_is_written_in_part(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, size: int, segment_bytes: int
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", segment_bytes)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    with opened(small_disk / "journal") as journal:
        made = fill(journal, size)
        end, bytes_ = journal.end, journal.figures.bytes
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                add(journal, bytes(400_000), a=10**6)
        assert (journal.end, journal.figures.bytes) == (end, bytes_)
        assert bytes_ == sum(file.stat().st_size for file in files(journal.directory))
        assert known(journal, "a") == {"a": len(made)}
        assert entries(journal) == made

        ballast.unlink()
        made.append(b"now there is room")
        add(journal, made[-1], b=1)
        assert entries(journal) == made
    with opened(small_disk / "journal") as journal:
        assert entries(journal) == made
        assert known(journal, "a", "b") == {"a": len(made) - 1, "b": 1}
        assert journal.figures.corrupt_files == 0


def test_a_full_disk_gets_room_when_events_are_released(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 100_000)
    with opened(small_disk / "journal") as journal:
        for _ in range(3):
            assert len(fill(journal, 5000)) > 50
            journal.trim(journal.end)
            journal.sync()  # which closes the files
        add(journal, b"last")


def test_a_disk_that_is_full_at_the_start_is_told(small_disk: Path) -> None:
    (small_disk / "journal").mkdir()
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        assert 0 < ballast.write(bytes(2**21)) <= 2**20
    with pytest.raises(AegisdError, match=r"No space left on device; set storage\.journal"):
        Journal(small_disk / "journal", 2**30, 0)


def test_a_write_that_the_kernel_cuts_short_is_taken_back(tmp_path: Path) -> None:
    """A limit to the size of files does what a full disk may: a part is written."""
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
        assert file.stat().st_size == journal.figures.bytes < 1000
        add(journal, b"two")
        assert entries(journal) == [b"one", b"two"]
        assert known(journal, "a") == {"a": None}


def test_what_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AegisdError, match=r"can't use the journal in .*file"):
        Journal(tmp_path / "file", 2**30, 0)


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
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
    with opened(tmp_path) as journal:  # who is gone holds nothing
        assert entries(journal) == [b"of the other"]
        journal.append(1, b"ours", {}, SECOND)
        with pytest.raises(AegisdError, match=rf"in use by process {os.getpid()};"):
            Journal(tmp_path, 2**30, 0)
