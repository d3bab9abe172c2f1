"""Starts and stops the parts of a daemon, in order.

``build`` has bound the sockets and opened the journal. Senders' messages and clients' connections
wait in the kernel meanwhile. Then ``serve``:

1. starts what runs in the background: the database, upkeep, the sync of the journal, the tick, the
   WebSocket hub, alerts. None of them is waited for: the daemon accepts events while the database
   is away, or while an embedded one recovers.
2. answers HTTP.
3. takes events. Now it serves.

A stop goes the other way:

1. Intake ends. What the datagram sockets hold is taken, and they are closed.
2. What waits is written, for LAST_FLUSH_SECONDS at most while the database can be used, and the
   journal is synced. HTTP is answered meanwhile.
3. The alerts' last states are saved, for LAST_SAVE_SECONDS at most.
4. WebSocket clients are told. HTTP connections end, and all other tasks.
"""

import structlog
import trio

from aegisd.daemon.build import Daemon, clocks
from aegisd.store.embedded import EMBEDDED, embedded_postgres

DRAIN_SECONDS = 1.0  # for UDP senders, which can't be refused
LAST_FLUSH_SECONDS = 30.0
LAST_SAVE_SECONDS = 5.0
TICK_SECONDS = 1.0

log = structlog.get_logger()


async def serve(
    daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run until ``daemon.stop()``; ``nursery.start`` returns when events are taken.

    Raises AegisdError, in a group, where the embedded Postgres can't start.
    """
    async with trio.open_nursery() as background:
        written = trio.Event()
        background.start_soon(_run_database, daemon, written)
        background.start_soon(daemon.upkeep.run, daemon.storage.writer.ready)
        background.start_soon(daemon.storage.sync.run)
        background.start_soon(_tick, daemon)
        background.start_soon(daemon.hub.run)
        if daemon.settings.alerts.enabled:
            background.start_soon(daemon.alerts.run, daemon.storage.writer.ready)
        await background.start(trio.serve_listeners, daemon.server.connection, daemon.http)

        async with trio.open_nursery() as taking:
            taking.start_soon(daemon.acknowledger.run)
            for listener in daemon.listeners:
                taking.start_soon(listener.run)
            # All tasks run up to their first wait here. An embedded Postgres that is not installed
            # or in use by another daemon fails in that time, and ends us before we are ready.
            await trio.lowlevel.checkpoint()
            task_status.started()
            await daemon.stopping.wait()
            taking.cancel_scope.cancel()

        _take_the_rest(daemon)
        await _write_the_rest(daemon, written)
        await _save_alerts(daemon)
        await daemon.hub.stop()
        daemon.postgres.close()
        background.cancel_scope.cancel()


async def _run_database(daemon: Daemon, written: trio.Event) -> None:
    """Keep the embedded Postgres running, where it is used, and write to the database."""
    dsn = daemon.settings.storage.dsn
    if dsn == EMBEDDED:
        async with embedded_postgres(daemon.directories.state) as embedded_dsn:
            await _write(daemon, embedded_dsn, written)
    else:
        await _write(daemon, dsn, written)


async def _write(daemon: Daemon, dsn: str, written: trio.Event) -> None:
    daemon.postgres.dsn = dsn
    await daemon.storage.writer.run()
    written.set()
    await trio.sleep_forever()  # the last questions and alerts still need the database


async def _tick(daemon: Daemon) -> None:
    """Each second: advance the live state, also without events; forget sources; watch losses."""
    while True:
        daemon.advance()
        _, steady = clocks()
        daemon.intake.forget_silent_sources(int(steady))
        daemon.storage.marks.forget(steady)
        daemon.health.watch(steady)
        await trio.sleep(TICK_SECONDS)


def _take_the_rest(daemon: Daemon) -> None:
    """Take what the datagram sockets hold, and close them."""
    daemon.sockets.remove_files()
    for listener in daemon.datagrams:
        listener.finish(DRAIN_SECONDS)


async def _write_the_rest(daemon: Daemon, written: trio.Event) -> None:
    """Write what waits while the database takes it. The journal has what is left."""
    storage = daemon.storage
    storage.writer.stop()
    with trio.move_on_after(LAST_FLUSH_SECONDS if storage.figures().connected else 0):
        await written.wait()
    figures = storage.figures()
    if figures.waiting:
        log.info("events wait in the journal for the next start", waiting=figures.waiting)
    if figures.append_error is not None:
        why = figures.append_error
        log.error("events that came while the journal could not be written are lost", why=why)
    await storage.sync.once()


async def _save_alerts(daemon: Daemon) -> None:
    with trio.move_on_after(LAST_SAVE_SECONDS):
        if daemon.storage.figures().connected:
            await daemon.alerts.restore_and_save()
