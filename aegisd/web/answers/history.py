"""Questions about a range of the past, of one node or all, answered by the database.

Rollups answer them; with ``exact=true`` raw rows do. Each answer names its range in whole rollups,
and until when it is complete.
"""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from aegisd.store.history import (
    Endpoint,
    ExactHistory,
    History,
    KeptFrom,
    Range,
    earliest,
    kept_of_names,
)
from aegisd.times import rfc3339
from aegisd.web import views
from aegisd.web.answers.parameters import endpoint_of, is_exact, limit_of, node_of, range_of
from aegisd.web.http import Request, Response, success


@frozen
class _Question:
    """What is asked for; ``now`` is in microseconds since 1970."""

    now: int
    range: Range
    node: str | None
    endpoint: Endpoint | None = None

    @property
    def series(self) -> tuple[Range, str | None, Endpoint | None]:
        """What a series is asked for by."""
        return self.range, self.node, self.endpoint


class HistoryAnswers:
    """``/api/metrics/…``, but what the live state answers.

    ``now`` gives the time in microseconds since 1970; ``kept_from`` says for a time from where on
    each level of the rollups is kept.
    """

    def __init__(
        self,
        history: History,
        exact: ExactHistory,
        now: Callable[[], int],
        kept_from: Callable[[int], KeptFrom],
    ) -> None:
        self._history = history
        self._exact = exact
        self._now = now
        self._kept_from = kept_from

    async def overview(self, request: Request) -> Response:
        """The sums of a range, and who was present lately."""
        question = self._question(request)
        totals = await self._history_for(request).totals(question.range, question.node)
        present = await self._history.present(question.now, question.node)
        data = views.past_overview(question.now, question.range, totals.figures, present.figures)
        return _response(question, data, earliest(totals.complete_until, present.complete_until))

    async def request_rate(self, request: Request) -> Response:
        """Requests over time."""
        question = self._question_of_endpoint(request)
        counts = await self._history.requests(*question.series)
        data = views.request_rate(question.range, counts.figures)
        return _response(question, data, counts.complete_until)

    async def latency(self, request: Request) -> Response:
        """Latencies over time."""
        question = self._question_of_endpoint(request)
        found = await self._history_for(request).latency(*question.series)
        data = views.latency(question.range, found.figures)
        return _response(question, data, found.complete_until)

    async def status_distribution(self, request: Request) -> Response:
        """Statuses over time."""
        question = self._question_of_endpoint(request)
        counts = await self._history.statuses(*question.series)
        data = views.status_distribution(question.range, counts.figures)
        return _response(question, data, counts.complete_until)

    async def heat_map(self, request: Request) -> Response:
        """Durations over time: how many requests took how long."""
        question = self._question_of_endpoint(request)
        found = await self._history.durations(*question.series)
        data = views.heat_map(question.range, found.figures)
        return _response(question, data, found.complete_until)

    async def nodes(self, request: Request) -> Response:
        """The nodes that wrote, those with most requests first."""
        question = self._question(request)
        found = await self._history.nodes(question.range)
        return _response(question, views.nodes(found.figures), found.complete_until)

    async def top_endpoints(self, request: Request) -> Response:
        """The endpoints with most requests."""
        question = self._question(request, names=True)
        limit = limit_of(request)
        top = await self._history.top_endpoints(question.range, question.node, limit)
        return _response(question, views.endpoints(top.figures), top.complete_until)

    async def rate_limits(self, request: Request) -> Response:
        """Rate-limit decisions, and the keys with most denials."""
        question = self._question(request, names=True)
        limit = limit_of(request)
        limits = await self._history.rate_limits(question.range, question.node, limit)
        return _response(question, views.rate_limits(*limits.figures), limits.complete_until)

    def _question(self, request: Request, *, names: bool = False) -> _Question:
        now = self._now()
        node = node_of(request)
        return _Question(now, range_of(request, now, self._kept_from(now), names=names), node)

    def _question_of_endpoint(self, request: Request) -> _Question:
        """A question that may be narrowed to one endpoint."""
        now, node, endpoint = self._now(), node_of(request), endpoint_of(request)
        kept = self._kept_from(now)
        if endpoint is not None:
            kept = kept_of_names(kept)
        return _Question(now, range_of(request, now, kept), node, endpoint)

    def _history_for(self, request: Request) -> History | ExactHistory:
        return self._exact if is_exact(request) else self._history


def _response(question: _Question, data: Any, complete_until: int | None) -> Response:
    return success(
        data,
        range={
            "from": rfc3339(question.range.start),
            "to": rfc3339(question.range.end),
            "bucketSeconds": question.range.bucket,
            "completeUntil": None if complete_until is None else rfc3339(complete_until),
        },
    )
