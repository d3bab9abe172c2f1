"""Connects to the database that ``storage.dsn`` names. On the asyncio side."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from aegisd.errors import DatabaseUnavailable
from aegisd.store.database.binary import POSTGRES_EPOCH
from aegisd.store.database.dsn import Host, hosts

CONNECT_SECONDS = 10

_PASSED_OVER = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""What has the next host tried, as with libpq; a wrong password doesn't."""


async def connect(dsn: str) -> Any:
    """A connection of asyncpg's. Raises DatabaseUnavailable, and what asyncpg raises."""
    try:
        servers = hosts(dsn, CONNECT_SECONDS)
    except ValueError as error:
        raise DatabaseUnavailable(f"storage.dsn: {error}") from None
    seconds = sum(server.seconds for server in servers)
    connection: Any = None
    try:
        async with asyncio.timeout(seconds):
            server, connection = await _first_connection(servers)
            server.tune(connection._transport.get_extra_info("socket"))  # nothing public has it
            await _set_codecs(connection)
    except BaseException as error:
        if connection is not None:
            connection.terminate()
        if isinstance(error, TimeoutError):
            raise DatabaseUnavailable(f"no answer within {seconds:g} s") from None
        if isinstance(error, ValueError):  # what only shows now: a certificate, a host's name
            raise DatabaseUnavailable(f"storage.dsn: {line(error)}") from None
        if isinstance(error, OSError) and (named := servers[-1].named(error)):
            raise DatabaseUnavailable(named) from None
        raise
    return connection


async def _set_codecs(connection: Any) -> None:
    """Have times as microseconds, and sketches as they are."""
    await connection.execute("BEGIN")  # a pooler keeps to one session for so long
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda microseconds: (microseconds - POSTGRES_EPOCH,),
        decoder=lambda wire: wire[0] + POSTGRES_EPOCH,
    )
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", format="binary", encoder=bytes, decoder=bytes
    )
    await connection.execute("COMMIT")


async def _connected(server: Host) -> Any:
    # a pooler gives each transaction another session, which knows no statement of before
    return await asyncpg.connect(**server.arguments, statement_cache_size=0)


async def _first_connection(servers: Sequence[Host]) -> tuple[Host, Any]:
    """The first server that takes a connection, each within its own time, and the connection.

    asyncpg alone would have one time for all of them, which the first that is dead uses up.
    """
    for server in servers[:-1]:
        with suppress(*_PASSED_OVER):
            return server, await _connected(server)
    return servers[-1], await _connected(servers[-1])


def line(error: BaseException) -> str:
    """The first line of an error's text, with its kind where the text alone says little."""
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
