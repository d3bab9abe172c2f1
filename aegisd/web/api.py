"""Finds the answer for a request. Every path is in the table of ``routes``, with its methods."""

from collections.abc import Mapping
from http import HTTPStatus

from attrs import evolve, frozen

from aegisd.errors import DatabaseUnavailable, DataRefused, kind_of
from aegisd.store.database import Busy
from aegisd.web import answers
from aegisd.web.http import (
    Fitting,
    Handler,
    HttpError,
    Kept,
    KeptHandler,
    LastingHandler,
    Request,
    Response,
    to_json,
)
from aegisd.web.openapi import document

OPENAPI_PATH = "/openapi.json"

Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. A path may have one segment in braces, for any name: ``/alerts/{id}``;
with a star the name may have several segments: ``/assets/{*name}``.
A path without braces goes before one with them. HEAD and OPTIONS follow from the others."""


def routes(
    page: answers.PageAnswers,
    daemon: answers.DaemonAnswers,
    live: answers.LiveAnswers,
    history: answers.HistoryAnswers,
    alerts: answers.AlertAnswers,
    session: answers.SessionAnswers,
    silences: answers.SilenceAnswers,
    costly: answers.Costly,
    now: Kept,
    past: Kept,
) -> Routes:
    """All paths of the port but the WebSocket's.

    ``now`` keeps answers that the live state gives, ``past`` those of the database's rollups.
    """
    table: dict[str, Mapping[str, Handler]] = {
        "/": {"GET": LastingHandler(page.page)},
        "/assets/{*name}": {"GET": LastingHandler(page.asset)},
        "/healthz": {"GET": daemon.healthz},
        "/readyz": {"GET": daemon.readyz},
        "/metrics": {"GET": daemon.metrics},
        "/api/session": {"GET": session.show, "POST": session.begin, "DELETE": session.end},
        "/api/ingest": {"GET": daemon.ingest},
        "/api/status": {"GET": daemon.status},
        "/api/alerts": {"GET": alerts.list},
        "/api/alerts/{id}": {"GET": alerts.get},
        "/api/alerts/{id}/acknowledge": {"POST": alerts.acknowledge},
        "/api/alerts/{id}/resolve": {"POST": alerts.resolve},
        "/api/alerts/silences": {
            "GET": silences.list,
            "POST": silences.add,
            "DELETE": silences.remove,
        },
        "/api/alerts/silences/{id}": {"DELETE": silences.remove},
        "/api/metrics/realtime": {"GET": KeptHandler(now, live.realtime)},
        "/api/metrics/backends": {"GET": KeptHandler(now, live.backends)},
    }
    about_the_past = {
        "overview": history.overview,
        "request-rate": history.request_rate,
        "latency": history.latency,
        "status-distribution": history.status_distribution,
        "heatmap": history.heat_map,
        "nodes": history.nodes,
        "top-endpoints": history.top_endpoints,
        "rate-limits": history.rate_limits,
    }
    for name, make in about_the_past.items():
        table[f"/api/metrics/{name}"] = {"GET": KeptHandler(past, costly.bounded(make))}
    described = to_json(document({**table, OPENAPI_PATH: ["GET"]})).encode()

    async def description(request: Request) -> Response:
        del request
        return Response(HTTPStatus.OK, described)

    return table | {OPENAPI_PATH: {"GET": LastingHandler(description)}}


@frozen
class _Pattern:
    """A path with a name in it: what stands before and after the name, and its methods."""

    before: str
    after: str
    deep: bool  # whether the name may have several segments
    methods: Mapping[str, Handler]

    @classmethod
    def parse(cls, path: str, methods: Mapping[str, Handler]) -> "_Pattern":
        before, _, rest = path.partition("{")
        name, _, after = rest.partition("}")
        return cls(before, after, name.startswith("*"), methods)

    def item_in(self, path: str) -> str:
        """The name in this path; empty where the path is another."""
        if not (path.startswith(self.before) and path.endswith(self.after)):
            return ""
        item = path[len(self.before) : len(path) - len(self.after)]
        return "" if "/" in item and not self.deep else item


class Api:
    """The paths, and the HTTP errors that an answer's exceptions become."""

    def __init__(self, routes: Routes, fitting: Fitting) -> None:
        self._fitting = fitting
        self._exact = {path: methods for path, methods in routes.items() if "{" not in path}
        self._patterns = [_Pattern.parse(p, m) for p, m in routes.items() if "{" in p]

    def route(self, request: Request) -> tuple[Request, Handler]:
        """Find what answers the request, and set its item. Raises HttpError where nothing does."""
        item, methods = self._find(request.path)
        if methods is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no {request.path}")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join(_allowed(methods))
            if request.method == "OPTIONS":
                handler = _Options(allow)
            else:
                raise HttpError(
                    HTTPStatus.METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    f"{request.path} takes {allow}, not {request.method}",
                    {"Allow": allow},
                )
        return evolve(request, item=item), handler

    def _find(self, path: str) -> tuple[str, Mapping[str, Handler] | None]:
        """The name in the path, and the path's methods; None where there is no such path."""
        if (methods := self._exact.get(path)) is not None:
            return "", methods
        for pattern in self._patterns:
            if item := pattern.item_in(path):
                return item, pattern.methods
        return "", None

    async def answer(self, handler: Handler, request: Request) -> Response:
        """The handler's answer, as the client takes it. Raises HttpError where there is none."""
        try:
            return await self._fitting.fit(request, await handler(request))
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


@frozen
class _Options:
    """The answer to OPTIONS: which methods there are."""

    allow: str

    async def __call__(self, request: Request) -> Response:
        del request
        return Response(HTTPStatus.NO_CONTENT, b"", headers={"Allow": self.allow})


def _allowed(methods: Mapping[str, Handler]) -> list[str]:
    head = ["HEAD"] if "GET" in methods else []
    return [*methods, *head, "OPTIONS"]
