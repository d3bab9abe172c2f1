"""What is kept for how many days: one policy for all daemons that share a database.

It stands in the table ``aegisd_policy`` by the keys of the configuration. Each daemon's
configuration is only what it would have: were it to rule, the shortest of all would, unseen.
"""

from attrs import frozen

from aegisd.config.settings import Days, Metrics, Rollups
from aegisd.events.units import SECOND_US
from aegisd.store.database import Postgres, Session
from aegisd.store.schema import DAY, FINE, HOUR, KINDS, MINUTE, RAW, floor


@frozen
class Policy:
    """For how many days rows, ended alerts and each level of rollups are kept."""

    rows: int
    alerts: int
    rollups: Rollups

    @classmethod
    def of(cls, settings: Metrics) -> "Policy":
        """What a configuration says."""
        return cls(settings.retention_days, settings.alert_retention_days, settings.rollups)

    def by_key(self) -> dict[str, int]:
        """The days by their keys in the configuration."""
        return {
            "metrics.retention_days": self.rows,
            "metrics.alert_retention_days": self.alerts,
            "metrics.rollups.ten_seconds_days": self.rollups.ten_seconds_days,
            "metrics.rollups.minute_days": self.rollups.minute_days,
            "metrics.rollups.hour_days": self.rollups.hour_days,
        }

    def with_days(self, days: dict[str, int]) -> "Policy":
        """The same but for what ``days`` tells by key."""
        known = self.by_key() | {key: days[key] for key in self.by_key() if key in days}
        rows, alerts, *levels = known.values()
        return Policy(rows, alerts, Rollups(*map(Days, levels)))

    def of_tables(self) -> dict[str, int]:
        """For how many days each table is kept that is not kept for good."""
        days: dict[str, int] = dict.fromkeys(RAW, self.rows)
        of_levels = level_days(self.rollups)
        for kind in KINDS:
            days |= {
                kind.table(level): of_levels[level] for level in kind.levels if level in of_levels
            }
        return days


def differences(here: Policy, there: Policy) -> list[str]:
    """What a configuration has otherwise than the database, a text each."""
    of_database = there.by_key()
    return [
        f"{key} is {days} here and {of_database[key]} there"
        for key, days in here.by_key().items()
        if days != of_database[key]
    ]


async def read_policy(session: Session | Postgres, here: Policy) -> Policy | None:
    """The database's; where it lacks a key, as here. None as long as there is none."""
    found = await session.fetch("SELECT key, days FROM aegisd_policy")
    return here.with_days(dict(found)) if found else None


async def put_policy(session: Session | Postgres, policy: Policy, *, anew: bool) -> None:
    """Write the policy; without ``anew`` only what is not there yet."""
    days = policy.by_key()
    conflict = "(key) DO UPDATE SET days = excluded.days" if anew else "DO NOTHING"
    await session.execute(
        "INSERT INTO aegisd_policy (key, days) SELECT * FROM unnest($1::text[], $2::integer[])"
        f" ON CONFLICT {conflict}",
        list(days),
        list(days.values()),
    )


def level_days(settings: Rollups) -> dict[int, int]:
    """For how many days each level is kept; the days are for good.

    None goes before a finer one: where a range begins with the finer, it goes on with the coarser.
    """
    minutes = max(settings.minute_days, settings.ten_seconds_days)
    return {
        FINE: settings.ten_seconds_days,
        MINUTE: minutes,
        HOUR: max(settings.hour_days, minutes),
    }


def kept_from(settings: Rollups, now: int) -> dict[int, int]:
    """For each level from where on it is kept: whole days."""
    starts = {
        level: max(floor(now - kept * DAY * SECOND_US, DAY), 0)
        for level, kept in level_days(settings).items()
    }
    return starts | {DAY: 0}
