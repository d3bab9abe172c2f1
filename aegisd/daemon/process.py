"""The daemon as a process: systemd's sockets, signals, READY and STOPPING.

SIGTERM and SIGINT stop it; a second one stops it at once. SIGHUP is noted in the log.
"""

import gc
import os
import signal
import sys

import structlog
import trio

from aegisd import __version__
from aegisd.config.directories import Directories
from aegisd.config.settings import Settings
from aegisd.daemon import systemd
from aegisd.daemon.build import Daemon, build
from aegisd.daemon.serve import serve

LISTENERS = frozenset({"unix_datagram", "unix_stream", "udp", "http"})
"""What systemd may hand a socket over for, by the names of the settings."""

SWITCH_SECONDS = 0.001
"""How long the loop waits for the GIL while a thread lays rows out (CPython's default is 5 ms)."""

log = structlog.get_logger()


async def run(settings: Settings, directories: Directories) -> None:
    """Run until a signal stops the daemon. Raises AegisdError where it can't start."""
    handed = systemd.take_sockets(LISTENERS, os.environ)
    stopping = trio.Event()
    async with trio.open_nursery() as everything:
        await everything.start(_watch_signals, stopping, everything.cancel_scope)
        async with (
            build(settings, directories, handed, stopping) as daemon,
            trio.open_nursery() as serving,
        ):
            await serving.start(serve, daemon)
            _announce_ready(daemon)
            await stopping.wait()
            systemd.notify_stopping()
        everything.cancel_scope.cancel()
    log.info("stopped")


def _announce_ready(daemon: Daemon) -> None:
    addresses = daemon.addresses
    log.info(
        "ready",
        version=__version__,
        listens=" ".join(addresses.ingest),
        page=f"{addresses.http}/",
    )
    daemon.sockets.tell_small_buffers()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what the start has made stays, so collections need not look through it again
    systemd.notify_ready()


async def _watch_signals(
    stopping: trio.Event,
    everything: trio.CancelScope,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                log.warning("the configuration can't be reloaded yet; restart to apply it")
            elif stopping.is_set():
                log.warning("stopping at once, what waits is not written", signal=name)
                everything.cancel()
            else:
                log.info("stopping", signal=name)
                stopping.set()
