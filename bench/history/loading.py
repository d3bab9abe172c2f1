"""Fills a database as daemons would in a month, with the writer's and maintainer's own code."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import trio
from attrs import define, field, frozen

from aegisd.alerts.alert_table import AlertTable
from aegisd.config.settings import Metrics
from aegisd.events.block import Block
from aegisd.events.units import SECOND_US
from aegisd.store.database.postgres import Move, Session
from aegisd.store.rollups.folding import PIECE_TABLES
from aegisd.store.rollups.pieces import piece_rows
from aegisd.store.rollups.rollup import roll_up
from aegisd.store.schema.levels import DAY, HOUR, MINUTE, floor
from aegisd.store.upkeep.maintainer import Maintainer
from aegisd.store.write.rows import table_rows
from aegisd.store.write.writer import MAX_BATCH_EVENTS
from bench.history.server import Database
from bench.history.traffic import Traffic, stretches

FLUSH_SECONDS = 5
"""The default of ``metrics.flush_interval_ms``."""

FOLD_SECONDS = 20
LIVE_SECONDS = 600
"""The last part of the data is written flush by flush, and folded as often as by a daemon."""

UNFOLDED_SECONDS = 75
"""The longest stretch that a daemon has not folded yet: a minute, and 15 s for late flushes."""

KEPT_DAYS = 40
"""How long raw rows are kept: none must be dropped during the measurement."""


@define
class Clock:
    """The time in the data, in microseconds since 1970."""

    now: int = 0

    def clocks(self) -> tuple[float, float]:
        """The clocks as the maintainer reads them: both are the data's time."""
        return self.now / SECOND_US, self.now / SECOND_US

    async def database(self, _: Session) -> int:
        """The time as the maintainer reads it from the database."""
        return self.now


@frozen
class Node:
    """A daemon's name and journal."""

    name: str
    journal: UUID = field(factory=uuid4)


class Keeper(Maintainer):
    """A maintainer that can also fold alone."""

    async def fold(self) -> bool:
        """Fold what the writers added, and no more; False where it is another's turn."""
        return await self._read_clock_and_policy() and await self._fold()


@define
class Loader:
    """Writes blocks as the daemons' writers do, and folds when told to."""

    database: Database
    clock: Clock = field(factory=Clock)
    positions: dict[UUID, int] = field(factory=dict)
    maintainer: Keeper = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = Metrics(retention_days=KEPT_DAYS)
        postgres = self.database.postgres
        self.maintainer = Keeper(
            postgres,
            settings,
            self.clock.clocks,
            AlertTable(postgres, "bench"),
            self.clock.database,
        )

    async def begin(self, start: int) -> None:
        """Set the progress of folding to ``start``."""
        self.clock.now = start
        await self.database.postgres.fetch(
            "UPDATE rollup_progress SET hours_closed = $1, days_closed = $2",
            floor(start, HOUR),
            floor(start, DAY),
        )

    async def write(
        self, node: Node, blocks: Sequence[Block], *, rows: bool = True, pieces: bool = True
    ) -> None:
        """Write rows and pieces in one transaction, as the writer does; or one of the two."""
        blocks = [block for block in blocks if block.size]
        tables = [table_rows(block, node.name) for block in blocks] if rows else []
        if pieces:
            tables += piece_rows(roll_up(blocks), node.name)
        if (start := self.positions.get(node.journal)) is None:
            start = await self.database.postgres.position(node.journal, node.name, 0)
        end = start + sum(block.size for block in blocks)
        if end > start:
            await self.database.postgres.write(tables, Move(node.journal, node.name, start, end))
        self.positions[node.journal] = end

    async def month(
        self, traffic: Traffic, nodes: Sequence[Node], rows: int, start: int, end: int
    ) -> None:
        """``rows`` requests of several nodes from ``start`` to ``end``, folded by stretches."""
        await self.begin(start)
        live = end - LIVE_SECONDS * SECOND_US
        parts = stretches(rows, start, end)
        rate = parts[-1][2] / (parts[-1][1] - parts[-1][0])  # a microsecond
        for low, high, count in parts:
            if low >= live:
                break
            until = min(high, live)
            each = round(count * (until - low) / (high - low) / len(nodes))
            async with trio.open_nursery() as nursery:  # folds the stretch before, as a daemon does
                nursery.start_soon(self.maintainer.maintain)
                for node in nodes:
                    await self._stretch(traffic, node, each, low, until)
            self.clock.now = until
        await self.maintainer.maintain()
        # pieces of hours waited here, in a daemon only those of a minute: free their room
        for table in PIECE_TABLES:
            await self.database.ask(f"VACUUM FULL {table}")
        each = round(rate * FLUSH_SECONDS * SECOND_US / len(nodes)) or 1
        for moment in range(live, end, FLUSH_SECONDS * SECOND_US):
            await self._flush(traffic, nodes, each, moment)

    async def _stretch(
        self, traffic: Traffic, node: Node, count: int, start: int, end: int
    ) -> None:
        stamps = traffic.stamps(count, start, end)
        for at in range(0, count, MAX_BATCH_EVENTS):
            part = stamps[at : at + MAX_BATCH_EVENTS]
            await self.write(node, [traffic.requests(part), traffic.decisions(part)])

    async def _flush(self, traffic: Traffic, nodes: Sequence[Node], each: int, start: int) -> None:
        end = start + FLUSH_SECONDS * SECOND_US
        for node in nodes:
            stamps = traffic.stamps(each, start, end)
            blocks = [traffic.requests(stamps), traffic.decisions(stamps)]
            await self.write(node, [*blocks, *traffic.reports(end)])
        self.clock.now = end
        # the last fold is 5 s before the end: then a minute and 15 s are left
        if (end + FLUSH_SECONDS * SECOND_US - floor(end, MINUTE)) // SECOND_US % FOLD_SECONDS == (
            UNFOLDED_SECONDS % FOLD_SECONDS
        ):
            await self.maintainer.maintain()


def last_end(now: int) -> int:
    """The latest moment at which UNFOLDED_SECONDS are left over, not after ``now``."""
    lead = UNFOLDED_SECONDS % MINUTE * SECOND_US
    return floor(now - lead, MINUTE) + lead
