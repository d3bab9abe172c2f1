"""Alerts as the database has them, of all nodes, and what people do to them."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from uuid import UUID

from aegisd.alerts import (
    ACKNOWLEDGED,
    ACTIVE,
    RESOLVED,
    Alert,
    AlertTable,
    AlreadyResolved,
    Manager,
    Wanted,
    as_json,
)
from aegisd.web.answers.parameters import limit_of, span_of
from aegisd.web.http import HttpError, Request, Response, bad_request, success

ANONYMOUS = "anonymous"
"""Who did it where no tokens are configured."""


class AlertAnswers:
    """``/api/alerts``, ``/api/alerts/{id}`` and below.

    ``now`` gives the time in microseconds since 1970.
    """

    def __init__(self, alert_table: AlertTable, manager: Manager, now: Callable[[], int]) -> None:
        self._alerts = alert_table
        self._manager = manager
        self._now = now

    async def list(self, request: Request) -> Response:
        """The newest alerts."""
        status = request.query.get("status")
        known = (ACTIVE, ACKNOWLEDGED, RESOLVED)
        if status is not None and status not in known:
            raise bad_request(f"status takes one of {' '.join(known)}, not '{status}'")
        before = request.query.get("before")
        last = None if before is None else _uuid(before)
        if before is not None and last is None:
            raise bad_request(f"before takes an alert's id, not '{before}'")
        start, end = span_of(request, self._now()) or (None, None)
        alerts = await self._alerts.list(Wanted(limit_of(request), status, start, end, last))
        return success([as_json(alert) for alert in alerts])

    async def get(self, request: Request) -> Response:
        """One alert."""
        id_ = _uuid(request.item)
        return _found(request, None if id_ is None else await self._alerts.get(id_))

    async def acknowledge(self, request: Request) -> Response:
        """Somebody cares for an alert."""
        return await self._change(request, self._manager.acknowledge)

    async def resolve(self, request: Request) -> Response:
        """Somebody ends an alert."""
        return await self._change(request, self._manager.resolve)

    async def _change(
        self, request: Request, change: Callable[[UUID, str], Awaitable[Alert | None]]
    ) -> Response:
        id_ = _uuid(request.item)
        try:
            alert = None if id_ is None else await change(id_, request.name or ANONYMOUS)
        except AlreadyResolved:
            raise HttpError(
                HTTPStatus.CONFLICT, "already_resolved", f"alert '{request.item}' is resolved"
            ) from None
        return _found(request, alert)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _found(request: Request, alert: Alert | None) -> Response:
    if alert is None:
        raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no alert '{request.item}'")
    return success(as_json(alert))
