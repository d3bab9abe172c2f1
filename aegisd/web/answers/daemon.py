"""What the daemon answers about itself: health, status, ingest, and Prometheus' text.

``status`` and ``ingest`` are functions of figures; ``DaemonAnswers`` asks for the figures.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from aegisd.events.units import SECOND_US
from aegisd.times import rfc3339
from aegisd.web.exposition import Exposition
from aegisd.web.figures import DaemonFigures
from aegisd.web.http import HttpError, Request, Response, success

ONLY_FOR_ADMINS = "an admin's token shows it"


class HealthLines(Protocol):
    """What the daemon's ``Health`` gives here: a line for each thing that fails now."""

    def lines(self, *, admin: bool) -> list[str]:
        """Return the lines; they name addresses, roles and paths only for an admin."""


class DaemonAnswers:
    """``/healthz``, ``/readyz``, ``/metrics``, ``/api/status``, ``/api/ingest``.

    ``load_oldest`` gives the time of the oldest event that is not committed (s since 1970). It may
    read the journal, so only ``/api/status`` calls it.
    """

    def __init__(
        self,
        figures: Callable[[], DaemonFigures],
        load_oldest: Callable[[], int | None],
        health: HealthLines,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._figures = figures
        self._load_oldest = load_oldest
        self._health = health
        self._is_stopping = is_stopping
        self._exposition = Exposition(figures)

    async def healthz(self, request: Request) -> Response:
        """Whether the process runs."""
        del request
        return success({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Whether events are accepted. A database that is away only shows in the body."""
        del request
        if self._is_stopping():
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping")
        lines = self._health.lines(admin=False)
        return success({"status": "degraded" if lines else "ok", "degradations": lines})

    async def metrics(self, request: Request) -> Response:
        """The daemon's figures for Prometheus."""
        text, kind = self._exposition.text(request.headers.get("accept", ""))
        return Response(HTTPStatus.OK, text, kind, {"Vary": "Accept"})

    async def ingest(self, request: Request) -> Response:
        """What came in, and what became of it."""
        del request
        return success(ingest(self._figures()))

    async def status(self, request: Request) -> Response:
        """How each part of the daemon does."""
        lines = self._health.lines(admin=request.admin)
        oldest = self._load_oldest()
        return success(status(self._figures(), oldest, lines, admin=request.admin))


def ingest(figures: DaemonFigures) -> dict[str, Any]:
    """The data of ``/api/ingest``."""
    intake, storage = figures.intake, figures.storage
    return {
        "listeners": [
            {
                "address": listener.address,
                "messages": listener.messages,
                "bytes": listener.bytes,
                "kernelDropped": listener.kernel_dropped,
            }
            for listener in figures.listeners
        ],
        "events": intake.events,
        "rejected": {reason.value: count for reason, count in intake.rejected.items()},
        "altered": intake.altered,
        "disabled": intake.disabled,
        "sampledOut": storage.sampled_out,
        "dropped": {
            # always 0: no queue stands between intake and journal. Emitters' accounts name it
            # (sent = stored + … + dropped), so the key stays.
            "queue": 0,
            "journal": storage.dropped,
            "database": storage.refused,
        },
        "sources": [
            {"source": source.name, "received": source.received, "lost": source.lost}
            for source in figures.sources
        ],
        "recentRejects": [
            {
                "timestamp": _time(reject.time),
                "listener": reject.listener,
                "reason": reject.reason.value,
                "field": reject.field,
                "count": reject.count,
                "preview": reject.preview,
                "pid": reject.peer.pid if reject.peer else None,
                "uid": reject.peer.uid if reject.peer else None,
            }
            for reject in reversed(intake.recent_rejects)
        ],
    }


def status(
    figures: DaemonFigures, oldest: int | None, degradations: Sequence[str], *, admin: bool
) -> dict[str, Any]:
    """The data of ``/api/status``; ``oldest`` is the time of the oldest event not committed."""
    storage = figures.storage
    journal_error = storage.append_error or storage.sync_error
    return {
        "version": figures.version,
        "node": figures.node,
        "uptimeSeconds": round(figures.uptime, 3),
        "configurationLoadedAt": _time(figures.configuration_loaded),
        "journal": {
            "events": storage.waiting,
            "bytes": storage.journal_bytes,
            "oldest": _time_or_none(oldest),
            "lastError": journal_error if admin or journal_error is None else ONLY_FOR_ADMINS,
        },
        "database": {
            "connected": storage.connected,
            "lagSeconds": 0 if oldest is None else max(0, round(figures.now - oldest, 3)),
            "lastError": storage.last_error if admin else storage.last_error_kind,
        },
        "flush": {
            "batches": storage.batches,
            "rows": storage.rows,
            "failures": storage.failures,
            "lastAt": _time_or_none(storage.last_flush),
        },
        "upkeep": {
            "failures": figures.upkeep.failures,
            "clockAheadSeconds": round(figures.upkeep.clock_ahead_seconds, 3),
        },
        "degradations": list(degradations),
    }


def _time(wall: float) -> str:
    return rfc3339(round(wall * SECOND_US))


def _time_or_none(wall: float | None) -> str | None:
    return None if wall is None else _time(wall)
