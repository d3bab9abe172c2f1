"""An embedded Postgres: a private cluster in the state directory that lives as long as the daemon.

``directory`` has its files, ``programs`` the programs and the account that they run as, ``server``
the process and its states.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from aegisd.store.embedded.directory import Directory
from aegisd.store.embedded.server import Server

EMBEDDED = "embedded"
"""The value of ``storage.dsn`` that asks for an embedded Postgres."""


@asynccontextmanager
async def embedded_postgres(state: Path) -> AsyncIterator[str]:
    """Run the Postgres of a state directory, made at its first use; yield its DSN for asyncpg.

    The DSN is a secret: it holds the password, since PGPASSWORD would win over a passfile.

    Raises:
        AegisdError: the package is missing, another daemon holds the directory, its path is too
            long or out of reach, another major release made the data, or Postgres does not start
            (then with its reason) or stop.

    """
    directory = Directory(state)
    server = Server(directory)
    with directory.locked():
        try:
            with directory.os_errors_explained():
                await directory.prepare()
                await server.start()
                dsn = directory.dsn()
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.keep_running)
                try:
                    yield dsn
                except Exception as error:
                    failure = error  # raised outside, or the nursery would wrap it in a group
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            await server.stop()


def dsn_of(state: Path) -> str:
    """The DSN of the Postgres that a daemon runs in a state directory; it may not run now.

    Raises AegisdError where there is none.
    """
    directory = Directory(state)
    with directory.os_errors_explained():
        return directory.dsn()
