"""The server process of the embedded Postgres: found, started, watched, stopped.

The states of a cluster, by what ``postmaster.pid`` and ``/proc`` say:

1. No server. ``start`` starts one; pg_ctl waits until it is ready, crash recovery included.
2. A ready server with just the command line that we would use: a killed daemon left it behind.
   ``start`` adopts it.
3. Any other server, with other programs or settings, or still on its way up or down. ``start``
   stops it first.
4. The server died while we run. ``keep_running`` finds that within a second, and starts it again.

``stop`` first stops fast, with a checkpoint. A server that has not ended after FAST_STOP_SECONDS is
stopped at once, without one: its next start recovers.
"""

import os
import shlex
from contextlib import suppress
from pathlib import Path

import structlog
import trio

from aegisd.errors import AegisdError
from aegisd.store.embedded.directory import PORT, Directory
from aegisd.store.embedded.programs import GRACE_SECONDS, reason
from aegisd.threads import in_thread

START_SECONDS = 600.0  # longer than crash recovery: given up half-way, it would start all over
FAST_STOP_SECONDS = 45.0  # one checkpoint; with the next one below systemd's 90 s until SIGKILL
IMMEDIATE_STOP_SECONDS = 15.0
ORPHANS_SECONDS = 30.0  # for the children of a killed Postgres to notice that it is gone
ORPHANS_POLL_SECONDS = 0.2
APPEAR_SECONDS = 1.0  # a Postgres that was started writes its pid within a tenth of that
APPEAR_POLL_SECONDS = 0.02
WATCH_POLL_SECONDS = 1.0  # a look costs two small reads
RESTART_PAUSE_SECONDS = 10.0  # after a start that failed

# Given on the command line, so that they also hold for a cluster made by an older aegisd.
SETTINGS = {
    "listen_addresses": "",  # the Unix socket only
    "max_connections": "20",  # the daemon's small pool, and room for psql; each costs memory
    "shared_buffers": "64MB",  # a sidecar leaves memory to its gateway and the page cache
    "max_wal_size": "256MB",  # bounds both the disk taken and the time of a recovery
    "jit": "off",  # our queries are short: to compile them costs more than it gains
    "max_parallel_workers_per_gather": "0",  # spares the gateway's cores and /dev/shm
    "fsync": "on",  # durability is the promise: these two are not to be tuned away
    "full_page_writes": "on",
}

log = structlog.get_logger()


class Server:
    """The Postgres that serves one directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._programs = directory.programs
        self._data = directory.data
        settings = [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
        self._options = ["-p", str(PORT), "-k", str(self._data), *settings]

    async def start(self) -> None:
        """Have a ready server: adopt the one that runs, or start one."""
        command = [str(self._programs.folder / "postgres"), "-D", str(self._data), *self._options]
        if self._postmaster() == (command, "ready"):
            return
        await self.stop()
        log_start = await in_thread(self._directory.clear_for_start)
        give_up = trio.current_time() + ORPHANS_SECONDS
        log_file = self._directory.log
        options = ("-l", str(log_file), "-o", shlex.join(self._options))
        while True:
            started, output = await self._run_start(*options)
            if started:
                return
            tail = (await trio.Path(log_file).read_bytes())[log_start:].decode(errors="replace")
            why = reason(tail or output)
            # the children of a killed Postgres keep its memory in use until they notice
            if "still in use" not in why or trio.current_time() > give_up:
                raise AegisdError(f"Postgres in {self._data} does not start: {why}")
            await trio.sleep(ORPHANS_POLL_SECONDS)

    async def stop(self) -> None:
        """Stop the server if it runs; can't be cancelled, but is bounded in time."""
        modes = (("fast", FAST_STOP_SECONDS), ("immediate", IMMEDIATE_STOP_SECONDS))
        with trio.CancelScope(shield=True):
            output = ""
            for mode, seconds in modes:
                if self._postmaster() is None:
                    return
                _, output = await self._pg_ctl("stop", "-m", mode, seconds=seconds)
            if self._postmaster() is not None:
                raise AegisdError(f"Postgres in {self._data} does not stop: {reason(output)}")

    async def keep_running(self) -> None:
        """Start the server again each time it has died."""
        while True:
            await trio.sleep(WATCH_POLL_SECONDS)
            if self._postmaster() is not None:
                continue
            log.error(
                "the embedded Postgres has died, it is started again", log=str(self._directory.log)
            )
            try:
                with self._directory.os_errors_explained():
                    await self.start()
            except AegisdError as error:
                log.error("the embedded Postgres can't be started", why=str(error))
                await trio.sleep(RESTART_PAUSE_SECONDS)

    async def _run_start(self, *options: str) -> tuple[bool, str]:
        """Run pg_ctl start. Cancelled, it leaves a server that ``stop`` can find, or none."""
        try:
            return await self._pg_ctl("start", *options, seconds=START_SECONDS)
        except trio.Cancelled:
            # pg_ctl may have ended before it could hand the signal on to the server it just started
            with trio.CancelScope(shield=True), trio.move_on_after(APPEAR_SECONDS):
                while self._postmaster() is None:  # noqa: ASYNC110 # another process makes it
                    await trio.sleep(APPEAR_POLL_SECONDS)
            raise

    async def _pg_ctl(self, action: str, *args: str, seconds: float) -> tuple[bool, str]:
        place = ("-D", str(self._data), "-w", "-t", f"{seconds:.0f}")
        limit = seconds + GRACE_SECONDS
        return await self._programs.run("pg_ctl", action, *place, *args, seconds=limit)

    def _postmaster(self) -> tuple[list[str], str] | None:
        """The command line and the state ("ready" is one) of the running server, if any.

        The pid in its file proves nothing by itself: after a crash another process may have it.
        """
        with suppress(OSError, IndexError, ValueError):  # no file, half a file, no process
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            command = Path("/proc", str(int(lines[0])), "cmdline").read_bytes()
            arguments = os.fsdecode(command).split("\0")[:-1]
            if str(self._data) in arguments:
                return arguments, "".join(lines[7:]).strip()
        return None
