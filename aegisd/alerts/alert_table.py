"""The table ``alerts``: the manager saves alerts there, and the API reads them."""

from typing import Any
from uuid import UUID

from aegisd.alerts.alert import RESOLVED, Alert
from aegisd.store.database import Postgres

_COLUMNS = (
    "id, rule_id, rule_name, severity, status, message, current_value, threshold,"
    " triggered_at, resolved_at, acknowledged_at, acknowledged_by"
)
MAX_SINCE = 200
"""Alerts for a client that comes back: the page shows fewer."""

_OLD = "FROM alerts WHERE status = 'resolved' AND triggered_at < $1"


class AlertTable:
    """The alerts of all nodes; ``node`` is this one. All methods raise DatabaseUnavailable."""

    def __init__(self, postgres: Postgres, node: str) -> None:
        self._postgres = postgres
        self._node = node

    async def save(self, alert: Alert) -> None:
        """Insert an alert, or update it except for its acknowledgement. Raises DataRefused."""
        await self._postgres.execute(
            f"INSERT INTO alerts ({_COLUMNS}, node)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
            " ON CONFLICT (id) DO UPDATE SET status = excluded.status,"
            " message = excluded.message, current_value = excluded.current_value,"
            " resolved_at = excluded.resolved_at",
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

    async def list(self, status: str | None, limit: int) -> list[Alert]:
        """The newest alerts of all nodes, with this status or, for None, any."""
        rows = await _answer(
            self._postgres,
            f"SELECT {_COLUMNS} FROM alerts WHERE $1::text IS NULL OR status = $1"
            " ORDER BY triggered_at DESC, id LIMIT $2",
            status,
            limit,
        )
        return [_alert(row) for row in rows]

    async def get(self, id_: UUID) -> Alert | None:
        """One alert, or None."""
        rows = await _answer(self._postgres, f"SELECT {_COLUMNS} FROM alerts WHERE id = $1", id_)
        return _alert(rows[0]) if rows else None

    async def any_before(self, moment: int) -> bool:
        """Whether an alert of any node that ended was triggered before ``moment``."""
        return bool(await self._postgres.fetch(f"SELECT 1 {_OLD} LIMIT 1", moment))

    async def remove_before(self, moment: int) -> None:
        """Remove these alerts."""
        await self._postgres.execute(f"DELETE {_OLD}", moment)


async def _answer(postgres: Postgres, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """The rows of a query that a client of the API waits for."""
    return await postgres.ask(lambda session: session.fetch(sql, *args))


def _alert(row: tuple[Any, ...]) -> Alert:
    return Alert(str(row[0]), *row[1:])
