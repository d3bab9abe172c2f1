"""Journals and disks that the journal's tests share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.journals import add, files, opened

from aegisd.store.journal import journal as journal_module


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few records each."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 300)


@pytest.fixture
def three_segments(tmp_path: Path) -> Path:
    """A journal of three segments, of four, four and two records of ten events each."""
    directory = tmp_path / "journal"
    with pytest.MonkeyPatch.context() as patch, opened(directory) as journal:
        for number in range(10):
            full = number in {4, 8}
            patch.setattr(journal_module, "SEGMENT_BYTES", 0 if full else 2**20)
            add(journal, b"block %d" % number, events=10, source=number)
    assert [int(path.stem) for path in files(directory)] == [0, 40, 80]
    return directory


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
