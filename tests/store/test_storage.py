"""Storage: what it tells of itself, and where what is appended goes."""

from pathlib import Path

import pytest
from store.databases import requests
from structlog.testing import capture_logs

from aegisd.config.settings import Metrics
from aegisd.store.backlog import backlog as backlog_module
from aegisd.store.backlog.backlog import Backlog
from aegisd.store.database import Postgres
from aegisd.store.database.pool import Pool
from aegisd.store.journal.journal import Journal
from aegisd.store.journal.sync_schedule import Sync
from aegisd.store.storage import Storage
from aegisd.store.write import Writer


def storage_at(directory: Path, max_bytes: int = 2**30, *, enabled: bool = True) -> Storage:
    """Storage whose database is never asked."""
    journal = Journal(directory, max_bytes, 0)
    backlog = Backlog(journal, lambda: 50.9)
    postgres = Postgres(Pool(None, migrate=False, layout="auto", schema="aegisd"))
    writer = Writer(postgres, backlog, Metrics(), "n", lambda: (0.0, 0.0))
    return Storage(journal, backlog, Sync(journal, 0.01), writer, enabled)


def test_figures_count_what_waits_and_what_found_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "MAX_BUFFERED_BYTES", 2 * requests(10).nbytes)
    storage = storage_at(tmp_path, max_bytes=1)
    before = storage.figures()
    with capture_logs():
        for _ in range(5):
            storage.append([requests(10)])
    after = storage.figures()
    assert (before.waiting, before.dropped, before.append_error) == (0, 0, None)
    assert (after.waiting, after.no_room, after.lost_with_files, after.dropped) == (20, 30, 0, 30)
    assert after.append_error == "it is full (storage.journal_max_bytes)"
    assert after.journal_bytes == sum(file.stat().st_size for file in tmp_path.glob("*.segment"))
    assert storage.load_oldest() == 50
    storage.close()


def test_figures_tell_what_the_writer_and_sync_last_said(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    written = storage.writer.figures
    written.connected, written.batches, written.rows, written.failures = True, 1, 2, 3
    written.refused, written.sampled_out, written.last_flush = 4, 5, 6.0
    written.last_error, written.last_error_kind = "host db is away", "away"
    storage.sync.error = "EIO"
    told = storage.figures()
    assert (told.connected, told.batches, told.rows, told.failures) == (True, 1, 2, 3)
    assert (told.refused, told.sampled_out, told.last_flush) == (4, 5, 6.0)
    assert (told.last_error, told.last_error_kind) == ("host db is away", "away")
    assert told.sync_error == "EIO"
    storage.close()


def test_disabled_storage_keeps_no_events(tmp_path: Path) -> None:
    storage = storage_at(tmp_path, enabled=False)
    storage.append([requests(3)])
    assert storage.figures().waiting == 0
    assert storage.load_oldest() is None
    storage.close()
