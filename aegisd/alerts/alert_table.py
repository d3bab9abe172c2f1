"""The table ``alerts``: the manager saves alerts there, and the API reads them."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from attrs import frozen

from aegisd.alerts.alert import ACKNOWLEDGED, ACTIVE, RESOLVED, Alert
from aegisd.store.database import Postgres

_COLUMNS = (
    "id, rule_id, rule_name, severity, status, message, current_value, threshold,"
    " triggered_at, resolved_at, acknowledged_at, acknowledged_by, resolved_by"
)
MAX_SINCE = 200
"""Alerts for a client that comes back: the page shows fewer."""

_OLD = "FROM alerts WHERE status = 'resolved' AND triggered_at < $1"
_OLD_SILENCES = "FROM alert_silences WHERE ends_at < $1"

_ACKNOWLEDGED_MEANWHILE = (
    f"alerts.status = '{ACKNOWLEDGED}' AND excluded.acknowledged_at IS NULL"
    " AND alerts.resolved_by IS NOT DISTINCT FROM excluded.resolved_by"
)
"""Somebody acknowledged the stored alert over another daemon. A reopening after a resolve by hand
clears the acknowledgement; ``resolved_by`` tells the two apart."""

_SAVE = f"""
    INSERT INTO alerts ({_COLUMNS}, node)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO UPDATE SET
        status = CASE WHEN {_ACKNOWLEDGED_MEANWHILE} AND excluded.status = '{ACTIVE}'
            THEN '{ACKNOWLEDGED}' ELSE excluded.status END,
        acknowledged_at = CASE WHEN {_ACKNOWLEDGED_MEANWHILE}
            THEN alerts.acknowledged_at ELSE excluded.acknowledged_at END,
        acknowledged_by = CASE WHEN {_ACKNOWLEDGED_MEANWHILE}
            THEN alerts.acknowledged_by ELSE excluded.acknowledged_by END,
        message = excluded.message,
        current_value = excluded.current_value,
        resolved_at = excluded.resolved_at,
        resolved_by = excluded.resolved_by
    WHERE alerts.resolved_by IS NULL
        OR alerts.resolved_by IS NOT DISTINCT FROM excluded.resolved_by
        OR excluded.status = '{RESOLVED}'
"""
"""Leaves a row alone that somebody resolved by hand meanwhile, over another daemon."""


@frozen
class Wanted:
    """Which alerts a list has; None sets no bound. Times are microseconds since 1970.

    ``start`` and ``end``: those that were open in between. ``before``: those that come after this
    one in the list, newest first.
    """

    limit: int
    status: str | None = None
    start: int | None = None
    end: int | None = None
    before: UUID | None = None


class AlertTable:
    """The alerts of all nodes; ``node`` is this one. All methods raise DatabaseUnavailable."""

    def __init__(self, postgres: Postgres, node: str) -> None:
        self._postgres = postgres
        self._node = node

    async def save(self, alert: Alert) -> None:
        """Insert an alert, or update it.

        What others did to it by hand meanwhile stays (``change``). Raises DataRefused.
        """
        await self._postgres.execute(
            _SAVE,
            UUID(alert.id),
            alert.rule_id,
            alert.rule_name,
            alert.severity,
            alert.status,
            alert.message,
            alert.current_value,
            alert.threshold,
            alert.triggered_at,
            alert.resolved_at,
            alert.acknowledged_at,
            alert.acknowledged_by,
            alert.resolved_by,
            self._node,
        )

    async def earlier(self) -> list[Alert]:
        """What earlier runs of this node left, newest first.

        That is each open alert, and of each rule the newest resolved one, whose cooldown may run.
        """
        rows = await self._postgres.fetch(
            f"SELECT {_COLUMNS} FROM alerts WHERE node = $1 AND status <> $2"
            f" UNION ALL (SELECT DISTINCT ON (rule_id) {_COLUMNS} FROM alerts"
            " WHERE node = $1 AND status = $2 ORDER BY rule_id, triggered_at DESC)"
            " ORDER BY triggered_at DESC",
            self._node,
            RESOLVED,
        )
        return [_alert(row) for row in rows]

    async def since(self, id_: str) -> list[Alert]:
        """The alerts of this node that changed since an alert was triggered, the last change last.

        Of many, those that changed last; none where ``id_`` is no stored alert's.
        """
        try:
            seen = UUID(id_)
        except ValueError:
            return []
        changed = "greatest(triggered_at, acknowledged_at, resolved_at)"
        rows = await _answer(
            self._postgres,
            f"SELECT {_COLUMNS} FROM alerts WHERE node = $1"
            f" AND {changed} >= (SELECT triggered_at FROM alerts WHERE id = $2)"
            f" ORDER BY {changed} DESC LIMIT {MAX_SINCE}",
            self._node,
            seen,
        )
        return [_alert(row) for row in reversed(rows)]

    async def change(self, id_: UUID, change: Callable[[Alert], Alert]) -> Alert | None:
        """Change the status of any node's alert by hand; None where there is none.

        The daemon that checks its rule finds the change (``some``). What ``change`` raises is
        raised.
        """
        while (before := await self.get(id_)) is not None:
            after = change(before)
            changed = await self._postgres.fetch(
                "UPDATE alerts SET status = $1, acknowledged_at = $2, acknowledged_by = $3,"
                " resolved_at = $4, resolved_by = $5 WHERE id = $6 AND status = $7 RETURNING 1",
                after.status,
                after.acknowledged_at,
                after.acknowledged_by,
                after.resolved_at,
                after.resolved_by,
                id_,
                before.status,
            )
            if changed:  # else its status is another one by now
                return after
        return None

    async def some(self, ids: Iterable[str]) -> list[Alert]:
        """These alerts."""
        rows = await self._postgres.fetch(
            f"SELECT {_COLUMNS} FROM alerts WHERE id = ANY ($1::uuid[])", [UUID(id_) for id_ in ids]
        )
        return [_alert(row) for row in rows]

    async def list(self, wanted: Wanted) -> list[Alert]:
        """The newest alerts of all nodes that are wanted."""
        rows = await _answer(
            self._postgres,
            f"SELECT {_COLUMNS} FROM alerts"
            " WHERE ($1::text IS NULL OR status = $1)"
            " AND ($2::timestamptz IS NULL OR resolved_at IS NULL OR resolved_at >= $2)"
            " AND ($3::timestamptz IS NULL OR triggered_at < $3)"
            " AND ($4::uuid IS NULL OR (triggered_at, id) <"
            " (SELECT triggered_at, id FROM alerts WHERE id = $4))"
            " ORDER BY triggered_at DESC, id DESC LIMIT $5",
            wanted.status,
            wanted.start,
            wanted.end,
            wanted.before,
            wanted.limit,
        )
        return [_alert(row) for row in rows]

    async def get(self, id_: UUID) -> Alert | None:
        """One alert, or None."""
        rows = await _answer(self._postgres, f"SELECT {_COLUMNS} FROM alerts WHERE id = $1", id_)
        return _alert(rows[0]) if rows else None

    async def any_before(self, moment: int) -> bool:
        """Whether there is an alert that ended and was triggered before, or a silence's end."""
        found = f"(SELECT 1 {_OLD} LIMIT 1) UNION ALL (SELECT 1 {_OLD_SILENCES} LIMIT 1)"
        return bool(await self._postgres.fetch(found, moment))

    async def remove_before(self, moment: int) -> None:
        """Remove these alerts and silences."""
        await self._postgres.execute(f"DELETE {_OLD}", moment)
        await self._postgres.execute(f"DELETE {_OLD_SILENCES}", moment)


async def _answer(postgres: Postgres, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """The rows of a query that a client of the API waits for."""
    return await postgres.ask(lambda session: session.fetch(sql, *args))


def _alert(row: tuple[Any, ...]) -> Alert:
    return Alert(str(row[0]), *row[1:])
