"""Rounds: the power is cut under load. The disk keeps what was synced, and a part of the rest."""

import ctypes.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from random import Random

from support import Daemon, wait_until
from torture.crashes import CONFIG, TESTS
from torture.outcome import Outcome, outcome, wait_until_stored
from torture.sources import sending

MOMENTS_SECONDS = 0.6  # after the daemon is ready, within which any moment lies
CUT = "user.cut"


def missing() -> str | None:
    """Why no power can be cut here; None where it can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no access to /dev/fuse"
    if os.geteuid() != 0:
        return "mounting needs root"
    if ctypes.util.find_library("fuse3") is None:
        return "libfuse3 is not installed (Debian: libfuse3-3)"
    if find_spec("mfusepy") is None:
        return "mfusepy is not installed (extra dev)"
    return None


@contextmanager
def disk(mountpoint: Path, seed: int) -> Iterator[None]:
    """A disk that forgets, mounted."""
    mountpoint.mkdir()
    command = [sys.executable, "-m", "torture.disk", str(mountpoint), str(seed)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(TESTS)})
    try:
        wait_until(
            lambda: os.path.ismount(mountpoint) or process.poll() is not None, "it is mounted"
        )
        assert process.poll() is None, "the disk could not be mounted"
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(mountpoint)], check=False, capture_output=True)
        process.terminate()
        process.wait(30)


def power_cuts(dsn: str, directory: Path, rounds: int, random: Random) -> Outcome:
    """Cut the power so often; then count what is in the database, which has its own power."""
    mountpoint = directory / "disk"
    with disk(mountpoint, random.randrange(2**32)):
        daemon = on_disk(dsn, directory, mountpoint)
        try:
            with sending(daemon.runtime / "stream.sock", random) as sources:
                for _ in range(rounds):
                    start(daemon)
                    threading.Event().wait(random.random() * MOMENTS_SECONDS)
                    cut(mountpoint, daemon)
                    sources.check()
                start(daemon)
                sources.finish()
            wait_until_stored(daemon)
            assert daemon.stop() == 0, daemon.log()
        finally:
            daemon.kill()
    return outcome(dsn, sources.written, sources.acknowledged, rounds)


def start(daemon: Daemon) -> None:
    """Start a daemon with small segments."""
    daemon.start(sys.executable, "-m", "torture.points", "never", "0")


def cut(mountpoint: Path, daemon: Daemon, keeps: str = "") -> None:
    """Cut the power of a daemon and its disk; ``keeps`` as ``torture.disk`` says."""
    assert daemon.process is not None
    os.setxattr(mountpoint, CUT, f"{daemon.process.pid} {keeps}".encode())
    daemon.process.wait(30)


def on_disk(dsn: str, directory: Path, mountpoint: Path, **keys: str) -> Daemon:
    """A daemon, not started yet, with its journal on a disk."""
    environment = {
        "AEGISD_STORAGE__DSN": dsn,
        "AEGISD_STORAGE__JOURNAL": str(mountpoint / "journal"),
        "PYTHONPATH": str(TESTS),
    }
    environment |= {f"AEGISD_{key}": value for key, value in keys.items()}
    return Daemon(directory, CONFIG, environment)
