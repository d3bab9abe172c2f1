"""What docs/sql.md shows, and the role that it makes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import trio
from store.databases import ask
from support import WHERE_TABLES_ARE

PAGE = (Path(__file__).parents[1] / "docs/sql.md").read_text()
BLOCKS = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
(ROLE,) = (each for each in BLOCKS if "CREATE ROLE" in each)
QUERIES = [each.strip().rstrip(";") for each in BLOCKS if each != ROLE]


class Reader:
    """Asks as the role that the page makes."""

    def __init__(self, dsn: str):
        self._dsn = dsn

    async def ask(self, *statements: str) -> list[asyncpg.Record]:
        """The rows of the last of some statements, with their columns' names."""
        return await trio.to_thread.run_sync(lambda: asyncio.run(self._ask(*statements)))

    async def explain(self, sql: str) -> Any:
        """The plan, where the planner takes an index wherever there is one."""
        ((plan,),) = await self.ask("SET enable_seqscan = off", f"EXPLAIN (FORMAT JSON) {sql}")
        return plan

    async def _ask(self, *statements: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self._dsn, timeout=10, server_settings=WHERE_TABLES_ARE)
        try:
            await connection.execute("SET SESSION AUTHORIZATION grafana")
            *before, last = statements
            for statement in before:
                await connection.execute(statement)
            return await connection.fetch(last, timeout=30)
        finally:
            connection.terminate()


@asynccontextmanager
async def reader(dsn: str) -> AsyncIterator[Reader]:
    """The page's role in a migrated database; it is gone with the block."""
    for statement in ROLE.split(";")[:-1]:
        await ask(dsn, statement)
    try:
        yield Reader(dsn)
    finally:
        with trio.CancelScope(shield=True):
            await ask(dsn, "DROP OWNED BY grafana")
            await ask(dsn, "DROP ROLE grafana")
