"""Opens a connection to the database that ``storage.dsn`` names; runs on asyncio.

The hosts of the DSN are tried in order, each within its own time. asyncpg alone would give all of
them one time together, which the first dead host uses up.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from aegisd.errors import DatabaseUnavailable
from aegisd.store.database.copy_format import POSTGRES_EPOCH
from aegisd.store.database.dsn import Host, hosts
from aegisd.store.database.errors import first_line

CONNECT_SECONDS = 10

_NEXT_HOST = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""The errors after which the next host is tried, as libpq does. A wrong password is none."""


async def connect(dsn: str) -> Any:
    """A connection of asyncpg's. Raises DatabaseUnavailable, and asyncpg's errors."""
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
        if isinstance(error, ValueError):  # a certificate or a host's name that can't be used
            raise DatabaseUnavailable(f"storage.dsn: {first_line(error)}") from None
        if isinstance(error, OSError) and (explained := servers[-1].explain(error)):
            raise DatabaseUnavailable(explained) from None
        raise
    return connection


async def _first_connection(servers: Sequence[Host]) -> tuple[Host, Any]:
    """The first host that takes a connection, and the connection."""
    for server in servers[:-1]:
        with suppress(*_NEXT_HOST):
            return server, await _connect_to(server)
    return servers[-1], await _connect_to(servers[-1])


async def _connect_to(server: Host) -> Any:
    # a pooler gives each transaction another session, which has not prepared our statements
    return await asyncpg.connect(**server.arguments, statement_cache_size=0)


async def _set_codecs(connection: Any) -> None:
    """Pass timestamps as microseconds since 1970, and numerics (sketches) as bytes."""
    await connection.execute("BEGIN")  # a pooler keeps to one session within a transaction
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
