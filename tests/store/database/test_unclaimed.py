"""What asyncpg leaves behind ends nothing, and what is a fault of ours still does."""

import asyncio
import gc

import asyncpg
import pytest
import trio
import trio.testing
import trio_asyncio
from store.cluster import bounded

from aegisd.store.database.postgres import open_postgres


async def leave(error: Exception) -> None:
    """A future with an error that nobody ever asks for, as asyncpg leaves one in a lost COPY."""
    asyncio.get_running_loop().create_future().set_exception(error)
    gc.collect()


@bounded
async def test_an_error_of_a_lost_connection_that_nobody_waits_for_ends_nothing() -> None:
    async with open_postgres(migrate=False, layout="auto", schema="aegisd"):
        await trio_asyncio.aio_as_trio(leave)(asyncpg.ConnectionDoesNotExistError("lost"))
        await trio_asyncio.aio_as_trio(leave)(ConnectionResetError("lost"))
        await trio.testing.wait_all_tasks_blocked()


async def fail() -> None:
    async with open_postgres(migrate=False, layout="auto", schema="aegisd"):
        await trio_asyncio.aio_as_trio(leave)(ZeroDivisionError("ours"))
        await trio.sleep_forever()


@bounded
async def test_any_other_error_that_nobody_waits_for_ends_the_daemon() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert caught.group_contains(ZeroDivisionError)
