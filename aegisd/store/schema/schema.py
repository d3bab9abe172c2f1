"""The schema as data: numbered migrations, and partitions by UTC days.

Migrations only go forward. A file's number is its version; what has landed is never changed.
"""

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from attrs import frozen

SCHEMA = "aegisd"
"""Of the database, where a new installation's tables are put."""

RAW = ("request_metrics", "rate_limit_metrics", "backend_metrics", "system_metrics")

HOURLY_DAYS = 32  # of a partition of the hourly rollups: two years of them are 24 tables

PARTITIONED = dict.fromkeys(RAW, 1) | {
    "request_rollups_10s": 1,
    "request_rollups_1m": 1,
    "endpoint_rollups_1m": 1,
    "rate_limit_rollups_1m": 1,
    "request_rollups_1h": HOURLY_DAYS,
    "endpoint_rollups_1h": HOURLY_DAYS,
    "rate_limit_rollups_1h": HOURLY_DAYS,
}
"""How many days a partition of each table holds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PARTITION = re.compile(rf"({'|'.join(PARTITIONED)})_(\d{{8}})(?:_([1-9]\d*))?")


@frozen
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All steps, in order."""
    found = []
    for file in files("aegisd.store.schema").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            name = file.name.removesuffix(".sql")
            found.append(Migration(int(name.split("_")[0]), name, file.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)


@frozen(order=True)
class Partition:
    """A table's rows of some days from ``day`` on, which counts from 1970-01-01, UTC.

    ``number`` counts on where the first one's name is taken, by a detached partition mostly.
    """

    table: str
    day: int
    number: int = 1

    @classmethod
    def of(cls, table: str, day: int) -> "Partition":
        """The partition of ``table`` that holds a day."""
        return cls(table, day - day % PARTITIONED[table])

    @property
    def end(self) -> int:
        """The day after its last one."""
        return self.day + PARTITIONED[self.table]

    @property
    def name(self) -> str:
        """The partition's own table name."""
        name = f"{self.table}_{self._date(self.day):%Y%m%d}"
        return name if self.number == 1 else f"{name}_{self.number}"

    @property
    def bounds(self) -> tuple[str, str]:
        """Its first moment, and the first one behind it."""
        return (
            f"{self._date(self.day):%Y-%m-%d} 00:00:00+00",
            f"{self._date(self.end):%Y-%m-%d} 00:00:00+00",
        )

    @staticmethod
    def _date(day: int) -> datetime:
        return _EPOCH + timedelta(days=day)

    @classmethod
    def parse(cls, name: str) -> "Partition | None":
        """The partition of that name; None where the name is not one that we give."""
        match = _PARTITION.fullmatch(name)
        if match is None:
            return None
        try:
            date = datetime.strptime(match[2], "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(match[1], (date - _EPOCH).days, int(match[3] or 1))
