"""Which path answers with what. Every path is in the table in ``Api``."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from uuid import UUID

from aegisd import __version__
from aegisd.alerts import ACKNOWLEDGED, ACTIVE, RESOLVED, as_json
from aegisd.errors import DatabaseUnavailable, DataRefused, kind_of
from aegisd.events.protocol import MILLISECONDS_ABOVE
from aegisd.events.units import MILLISECOND_US, SECOND_US
from aegisd.store.database import Busy
from aegisd.store.history import Exact, History, Kept, Range, earliest, ranges
from aegisd.store.upkeep import kept_from
from aegisd.times import parse_rfc3339, rfc3339
from aegisd.web import views
from aegisd.web.context import Context
from aegisd.web.exposition import CONTENT_TYPE, Exposition
from aegisd.web.http.message import HttpError, Request, Response, bad_request, success

MAX_LIMIT = 1000
DEFAULT_LIMIT = 10
DEFAULT_RANGE = "1h"
MAX_YEAR_9999 = 253_402_300_799_000_000  # the last moment that RFC 3339 can write

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = {"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8"}
FOR_ADMINS = "an admin's token shows it"
WEBSOCKET_META = '<meta name="aegisd-websocket" content="{}">'

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Answers requests that the guard let through."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._exposition = Exposition(context)
        folder = files("aegisd.web").joinpath("dashboard")
        self._page = _page(folder.joinpath("index.html").read_text("utf-8"), context)
        self._assets = {name: folder.joinpath(name).read_bytes() for name in ASSETS}
        self._routes: dict[str, Handler] = {
            "/": self.page,
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/api/ingest": self.ingest,
            "/api/status": self.status,
            "/api/alerts": self.alerts,
            "/api/metrics/realtime": self.realtime,
            "/api/metrics/overview": self.overview,
            "/api/metrics/request-rate": self.request_rate,
            "/api/metrics/latency": self.latency,
            "/api/metrics/status-distribution": self.status_distribution,
            "/api/metrics/top-endpoints": self.top_endpoints,
            "/api/metrics/backends": self.backends,
            "/api/metrics/rate-limits": self.rate_limits,
        }

    def handler(self, request: Request) -> Handler:
        """What answers the request. Raises HttpError where nothing does."""
        handler = self._routes.get(request.path) or self._below(request.path)
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

    async def answer(self, handler: Handler, request: Request) -> Response:
        """Have the request answered. Raises HttpError where it is refused."""
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

    def _below(self, path: str) -> Handler | None:
        if path.startswith("/assets/") and path.removeprefix("/assets/") in ASSETS:
            return self.asset
        if path.startswith("/api/alerts/") and path.count("/") == 3:
            return self.alert
        return None

    # the page

    async def page(self, request: Request) -> Response:
        """The dashboard."""
        del request
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return Response(HTTPStatus.OK, self._page, "text/html; charset=utf-8", headers)

    async def asset(self, request: Request) -> Response:
        """What the dashboard consists of."""
        name = request.path.removeprefix("/assets/")
        return Response(HTTPStatus.OK, self._assets[name], ASSETS[name])

    # how the daemon itself does

    async def healthz(self, request: Request) -> Response:
        """Whether the process runs."""
        del request
        return success({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Whether events are taken; what the database does only shows in the body, by its kind."""
        del request
        if self._context.stopping:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping")
        lines = self._context.degradations(admin=False)
        return success({"status": "degraded" if lines else "ok", "degradations": lines})

    async def metrics(self, request: Request) -> Response:
        """The daemon's figures for Prometheus."""
        del request
        return Response(HTTPStatus.OK, self._exposition.text(), CONTENT_TYPE)

    async def ingest(self, request: Request) -> Response:
        """What came in, and what became of it."""
        del request
        context = self._context
        figures = context.intake.figures
        written = context.storage.writer.figures
        return success(
            {
                "listeners": [
                    {
                        "address": listener.address,
                        "messages": listener.messages,
                        "bytes": listener.bytes,
                        "kernelDropped": listener.kernel_dropped(),
                    }
                    for listener in context.listeners
                ],
                "events": figures.events,
                "rejected": {reason.value: n for reason, n in figures.rejected.items()},
                "altered": figures.altered,
                "disabled": figures.disabled,
                "sampledOut": written.sampled_out,
                "dropped": {
                    "queue": 0,  # there is none: what waits is in the journal
                    "journal": context.storage.backlog.dropped,
                    "database": written.refused,
                },
                "sources": [
                    {"source": name, "received": source.received, "lost": source.lost}
                    for name, source in sorted(context.intake.sources.known.items())
                ],
                "recentRejects": [
                    {
                        "timestamp": rfc3339(round(reject.time * SECOND_US)),
                        "listener": reject.listener,
                        "reason": reject.reason.value,
                        "field": reject.field,
                        "count": reject.count,
                        "preview": reject.preview,
                        "pid": reject.sender.pid if reject.sender else None,
                        "uid": reject.sender.uid if reject.sender else None,
                    }
                    for reject in reversed(figures.recent_rejects)
                ],
            }
        )

    async def status(self, request: Request) -> Response:
        """How the daemon does."""
        admin = request.admin
        context = self._context
        writer = context.storage.writer
        figures = writer.figures
        wall, steady = context.clocks()
        backlog = context.storage.backlog
        oldest = backlog.oldest
        flushed = figures.last_flush
        upkeep = context.upkeep.figures()
        error = backlog.figures.error or context.storage.sync.error
        return success(
            {
                "version": __version__,
                "node": context.node,
                "uptimeSeconds": round(steady - context.started[1], 3),
                "configurationLoadedAt": _time(context.started[0]),
                "journal": {
                    "events": backlog.events,
                    "bytes": context.storage.journal.figures.bytes,
                    "oldest": None if oldest is None else _time(oldest),
                    "lastError": error if admin or error is None else FOR_ADMINS,
                },
                "database": {
                    "connected": figures.connected,
                    "lagSeconds": 0 if oldest is None else max(0, round(wall - oldest, 3)),
                    "lastError": figures.last_error if admin else figures.last_kind,
                },
                "flush": {
                    "batches": figures.batches,
                    "rows": figures.rows,
                    "failures": figures.failures,
                    "lastAt": None if flushed is None else _time(flushed),
                },
                "upkeep": {
                    "failures": upkeep.failures,
                    "clockAheadSeconds": round(upkeep.clock_ahead_seconds, 3),
                },
                "degradations": context.degradations(admin=admin),
            }
        )

    # metrics

    async def realtime(self, request: Request) -> Response:
        """The overview from memory."""
        del request
        self._context.now()
        return success(views.overview(self._context.live.overview()))

    async def overview(self, request: Request) -> Response:
        """The overview of a range, of all nodes."""
        now, range_, node = self._asked(request)
        source = self._source(request)
        totals = await source.totals(range_, node)
        present = await self._context.history.present(now, node)
        data = views.past_overview(now, range_, totals.figures, present.figures)
        return _of(range_, data, earliest(totals.complete_until, present.complete_until))

    async def request_rate(self, request: Request) -> Response:
        """Requests over time."""
        _, range_, node = self._asked(request)
        counts = await self._context.history.requests(range_, node)
        return _of(range_, views.request_rate(range_, counts.figures), counts.complete_until)

    async def latency(self, request: Request) -> Response:
        """Latencies over time."""
        _, range_, node = self._asked(request)
        found = await self._source(request).latency(range_, node)
        return _of(range_, views.latency(range_, found.figures), found.complete_until)

    async def status_distribution(self, request: Request) -> Response:
        """Statuses over time."""
        _, range_, node = self._asked(request)
        counts = await self._context.history.statuses(range_, node)
        return _of(range_, views.status_distribution(range_, counts.figures), counts.complete_until)

    def _source(self, request: Request) -> History | Exact:
        """What answers: the rollups, or with ``exact=true`` the raw rows."""
        exact = request.query.get("exact", "false")
        if exact not in ("true", "false"):
            raise bad_request(f"exact takes true or false, not '{exact}'")
        return self._context.exact if exact == "true" else self._context.history

    async def top_endpoints(self, request: Request) -> Response:
        """The endpoints with most requests."""
        _, range_, node = self._asked(request, names=True)
        top = await self._context.history.top_endpoints(range_, node, _limit(request))
        return _of(range_, views.endpoints(top.figures), top.complete_until)

    async def backends(self, request: Request) -> Response:
        """The backends' latest reports, from memory."""
        del request
        self._context.now()
        return success(views.backends(self._context.live.overview().backends))

    async def rate_limits(self, request: Request) -> Response:
        """Rate-limit decisions of a range."""
        _, range_, node = self._asked(request, names=True)
        limit = _limit(request)
        limits = await self._context.history.rate_limits(range_, node, limit)
        checked, denied, keys = limits.figures
        return _of(
            range_,
            {
                "checked": checked,
                "denied": denied,
                "topKeys": [
                    {"key": key.key, "checked": key.checked, "denied": key.denied} for key in keys
                ],
            },
            limits.complete_until,
        )

    # alerts

    async def alerts(self, request: Request) -> Response:
        """The newest alerts."""
        status = request.query.get("status")
        known = (ACTIVE, ACKNOWLEDGED, RESOLVED)
        if status is not None and status not in known:
            raise bad_request(f"status takes one of {' '.join(known)}, not '{status}'")
        alerts = await self._context.archive.list(status, _limit(request))
        return success([as_json(alert) for alert in alerts])

    async def alert(self, request: Request) -> Response:
        """One alert."""
        name = request.path.rpartition("/")[2]
        try:
            alert = await self._context.archive.get(UUID(name))
        except ValueError:
            alert = None
        if alert is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no alert '{name}'")
        return success(as_json(alert))

    def _asked(self, request: Request, *, names: bool = False) -> tuple[int, Range, str | None]:
        """The time, the range, and the node; with ``names`` the range for a list of them."""
        now = self._context.now()
        node = request.query.get("node")
        if node is not None and (not node or "\0" in node):  # Postgres would refuse it
            raise bad_request("node takes a node's name, without NUL")
        kept = kept_from(self._context.upkeep.policy.rollups, now)
        return now, _range(request, now, kept, names=names), node


def _page(html: str, context: Context) -> bytes:
    """The page, told where the WebSocket is: nowhere, where it is off."""
    websocket = context.settings.dashboard.websocket
    shown = WEBSOCKET_META.format(websocket.path if websocket.enabled else "")
    return html.replace(WEBSOCKET_META.format("/ws/metrics"), shown).encode()


def _time(wall: float) -> str:
    return rfc3339(round(wall * SECOND_US))


def _limit(request: Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_LIMIT):
        raise bad_request(f"limit takes a whole number from 1 to {MAX_LIMIT}, not '{text}'")
    return int(text)


def _of(range_: Range, data: Any, complete_until: int | None) -> Response:
    """An answer about a range: which it is, in whole rollups, and until when it is complete."""
    return success(
        data,
        range={
            "from": rfc3339(range_.start),
            "to": rfc3339(range_.end),
            "bucketSeconds": range_.bucket,
            "completeUntil": None if complete_until is None else rfc3339(complete_until),
        },
    )


def _range(request: Request, now: int, kept: Kept, *, names: bool) -> Range:
    query = request.query
    if "from" in query or "to" in query:
        if "from" not in query or "range" in query:
            raise bad_request("from and to stand together, without range; to may be left out")
        start = _moment("from", query["from"])
        end = _moment("to", query["to"]) if "to" in query else now
        if start >= end:
            raise bad_request("from takes a time before to")
        return ranges.between(start, end, now, kept, names=names)
    name = query.get("range", DEFAULT_RANGE)
    if name not in ranges.NAMED:
        raise bad_request(f"range takes one of {' '.join(ranges.NAMED)}, not '{name}'")
    return ranges.named(name, now, kept, names=names)


def _moment(parameter: str, text: str) -> int:
    """RFC 3339, or a number read like a timestamp on the wire."""
    try:
        number = float(text)
    except ValueError:
        try:
            moment = parse_rfc3339(text.replace(" ", "+"))  # a bare + is a space in a query
        except ValueError:
            moment = -1
    else:
        scaled = number * (MILLISECOND_US if number > MILLISECONDS_ABOVE else SECOND_US)
        moment = round(scaled) if 0 <= scaled <= MAX_YEAR_9999 else -1
    if not 0 <= moment <= MAX_YEAR_9999:
        raise bad_request(
            f"{parameter} takes a time (RFC 3339) or seconds since 1970, not '{text}'"
        )
    return moment
