"""The note of the committed position."""

from pathlib import Path

import pytest
from store.journals import add, opened


def test_restart_keeps_the_committed_position(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        add(journal, *[b"x"] * 10)
        assert journal.committed == 0
        journal.trim(7)
        assert (journal.start, journal.committed) == (0, 7)
    with opened(tmp_path) as journal:
        assert (journal.start, journal.committed) == (0, 7)


@pytest.mark.parametrize("note", [b"", b"x", bytes(28), bytes(100)])
def test_note_with_other_bytes_is_ignored(tmp_path: Path, note: bytes) -> None:
    with opened(tmp_path) as journal:
        add(journal, *[b"x"] * 10)
        journal.trim(7)
    (tmp_path / "stored").write_bytes(note)
    with opened(tmp_path) as journal:
        assert journal.committed == 0
