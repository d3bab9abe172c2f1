"""Alerts as the database has them, of all nodes."""

from http import HTTPStatus
from uuid import UUID

from aegisd.alerts import ACKNOWLEDGED, ACTIVE, RESOLVED, AlertTable, as_json
from aegisd.web.answers.parameters import limit_of
from aegisd.web.http import HttpError, Request, Response, bad_request, success


class AlertAnswers:
    """``/api/alerts`` and ``/api/alerts/{id}``."""

    def __init__(self, alert_table: AlertTable) -> None:
        self._alerts = alert_table

    async def list(self, request: Request) -> Response:
        """The newest alerts."""
        status = request.query.get("status")
        known = (ACTIVE, ACKNOWLEDGED, RESOLVED)
        if status is not None and status not in known:
            raise bad_request(f"status takes one of {' '.join(known)}, not '{status}'")
        alerts = await self._alerts.list(status, limit_of(request))
        return success([as_json(alert) for alert in alerts])

    async def get(self, request: Request) -> Response:
        """One alert."""
        try:
            alert = await self._alerts.get(UUID(request.item))
        except ValueError:
            alert = None
        if alert is None:
            raise HttpError(
                HTTPStatus.NOT_FOUND, "not_found", f"there is no alert '{request.item}'"
            )
        return success(as_json(alert))
