"""Fixtures of the store's tests."""

import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from store.cluster import LIMIT, postmaster_pid
from store.journals import opened

from aegisd.store.backlog.backlog import Backlog


@pytest.fixture
def empty_backlog(tmp_path: Path) -> Iterator[Backlog]:
    """A backlog where nothing waits."""
    with opened(tmp_path / "nothing") as journal:
        backlog = Backlog(journal, time.time)
        yield backlog
        backlog.close()


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with a short path, which the unprivileged account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="aegisd-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "state"
    pid = postmaster_pid(folder / "state")
    if pid is not None:  # a killed daemon or a failed test has left it
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            os.kill(pid, signal.SIGQUIT)
            assert select.select([fd], [], [], LIMIT)[0]
            os.close(fd)
    shutil.rmtree(folder)
