"""Finds the answer for a request's path. Every path is in the table in ``Api``."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aegisd.errors import DatabaseUnavailable, DataRefused, kind_of
from aegisd.store.database import Busy
from aegisd.web.answers import (
    AlertAnswers,
    DaemonAnswers,
    HistoryAnswers,
    LiveAnswers,
    PageAnswers,
)
from aegisd.web.http import HttpError, Request, Response

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """The paths, and the HTTP errors that an answer's exceptions become."""

    def __init__(
        self,
        page: PageAnswers,
        daemon: DaemonAnswers,
        live: LiveAnswers,
        history: HistoryAnswers,
        alerts: AlertAnswers,
    ) -> None:
        self._page = page
        self._alerts = alerts
        self._routes: dict[str, Handler] = {
            "/": page.page,
            "/healthz": daemon.healthz,
            "/readyz": daemon.readyz,
            "/metrics": daemon.metrics,
            "/api/ingest": daemon.ingest,
            "/api/status": daemon.status,
            "/api/alerts": alerts.list,
            "/api/metrics/realtime": live.realtime,
            "/api/metrics/backends": live.backends,
            "/api/metrics/overview": history.overview,
            "/api/metrics/request-rate": history.request_rate,
            "/api/metrics/latency": history.latency,
            "/api/metrics/status-distribution": history.status_distribution,
            "/api/metrics/heatmap": history.heat_map,
            "/api/metrics/nodes": history.nodes,
            "/api/metrics/top-endpoints": history.top_endpoints,
            "/api/metrics/rate-limits": history.rate_limits,
        }

    def handler(self, request: Request) -> Handler:
        """Find what answers the request. Raises HttpError where nothing does."""
        handler = self._routes.get(request.path) or self._handler_below(request.path)
        if handler is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no {request.path}")
        if request.method not in ("GET", "HEAD"):
            raise HttpError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method_not_allowed",
                f"{request.path} takes GET, not {request.method}",
                {"Allow": "GET, HEAD"},
            )
        return handler

    def _handler_below(self, path: str) -> Handler | None:
        """The handler of a path that ends with a name: an asset's, an alert's."""
        if self._page.has_asset(path):
            return self._page.asset
        if path.startswith("/api/alerts/") and path.count("/") == 3:
            return self._alerts.get
        return None

    async def answer(self, handler: Handler, request: Request) -> Response:
        """Call the handler. Raises HttpError where it can't answer."""
        try:
            return await handler(request)
        except Busy as error:
            later = {"Retry-After": str(error.seconds)}
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", str(error), later) from None
        except (DatabaseUnavailable, DataRefused) as error:
            why = str(error) if request.admin else kind_of(error)
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "database_unavailable",
                f"the database can't be used: {why}",
            ) from None
