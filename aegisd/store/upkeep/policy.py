"""What is kept for how many days: one policy for all daemons that share a database.

It is in the table ``aegisd_policy``, by the keys of the configuration. A daemon's configuration
only sets the policy where there is none yet. If each daemon went by its own, the one with the
fewest days would remove everybody's rows.
"""

from attrs import frozen

from aegisd.config.settings import Days, Metrics, Rollups
from aegisd.events.units import SECOND_US
from aegisd.store.database import Postgres, Session
from aegisd.store.schema import DAY, FINE, HOUR, MINUTE, RAW, ROLLUP_KINDS, floor


@frozen
class Policy:
    """For how many days rows, ended alerts and each level of rollups are kept."""

    rows: int
    alerts: int
    rollups: Rollups

    @classmethod
    def of(cls, settings: Metrics) -> "Policy":
        """The policy that a configuration has."""
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
        """The same policy, with the ``days`` of some keys instead."""
        known = self.by_key() | {key: days[key] for key in self.by_key() if key in days}
        rows, alerts, *levels = known.values()
        return Policy(rows, alerts, Rollups(*map(Days, levels)))

    def of_tables(self) -> dict[str, int]:
        """For how many days each table is kept that is not kept for good."""
        days: dict[str, int] = dict.fromkeys(RAW, self.rows)
        of_levels = level_days(self.rollups)
        for kind in ROLLUP_KINDS:
            days |= {
                kind.table(level): of_levels[level] for level in kind.levels if level in of_levels
            }
        return days


def differences(here: Policy, there: Policy) -> list[str]:
    """Where a configuration differs from the database's policy, a text each."""
    of_database = there.by_key()
    return [
        f"{key} is {days} here and {of_database[key]} there"
        for key, days in here.by_key().items()
        if days != of_database[key]
    ]


async def read_policy(session: Session | Postgres, here: Policy) -> Policy | None:
    """The database's policy, None if it has none; a key that it lacks is as ``here``."""
    found = await session.fetch("SELECT key, days FROM aegisd_policy")
    return here.with_days(dict(found)) if found else None


async def put_policy(session: Session | Postgres, policy: Policy, *, anew: bool) -> None:
    """Write the policy; without ``anew`` only the keys that are not there yet."""
    days = policy.by_key()
    conflict = "(key) DO UPDATE SET days = excluded.days" if anew else "DO NOTHING"
    await session.execute(
        "INSERT INTO aegisd_policy (key, days) SELECT * FROM unnest($1::text[], $2::integer[])"
        f" ON CONFLICT {conflict}",
        list(days),
        list(days.values()),
    )


def level_days(settings: Rollups) -> dict[int, int]:
    """For how many days each level is kept; days are kept for good and have no entry.

    A level is kept at least as long as the finer ones: a range that begins with a finer level goes
    on with the coarser one.
    """
    minutes = max(settings.minute_days, settings.ten_seconds_days)
    return {
        FINE: settings.ten_seconds_days,
        MINUTE: minutes,
        HOUR: max(settings.hour_days, minutes),
    }


def kept_from(settings: Rollups, now: int) -> dict[int, int]:
    """By level: from where on it is kept, the start of a day."""
    starts = {
        level: max(floor(now - kept * DAY * SECOND_US, DAY), 0)
        for level, kept in level_days(settings).items()
    }
    return starts | {DAY: 0}
