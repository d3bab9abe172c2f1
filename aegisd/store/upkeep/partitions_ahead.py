"""Makes partitions before their days begin, so that no batch has to wait for one.

The maintainer calls this once a day. It calls ``Postgres.make_partitions`` for one partition at a
time, so that each can fail by itself (see ``failures``).
"""

from functools import partial

from aegisd.events.units import DAY_US
from aegisd.store.database import Postgres
from aegisd.store.schema import PARTITIONED, Partition
from aegisd.store.upkeep.failures import PARTITIONS, DutyFailures

DAYS_AHEAD = 2
"""So partitions are there when they are needed, even if no daemon can make any for a day."""


async def make_partitions_ahead(postgres: Postgres, duties: DutyFailures, now: int) -> bool:
    """Make the partitions of today and DAYS_AHEAD days; False where one could not be made.

    ``now`` is the database's clock, in microseconds since 1970.
    """
    today = now // DAY_US
    ahead = {
        Partition.of(table, today + days) for table in PARTITIONED for days in range(DAYS_AHEAD + 1)
    }
    duties.forget_others(PARTITIONS, {partition.name for partition in ahead})
    for partition in sorted(ahead):
        make = partial(postgres.make_partitions, [partition])
        await duties.attempt(PARTITIONS, partition.name, make)
    return not duties.failures()[PARTITIONS]
