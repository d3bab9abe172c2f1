"""Lets few of the expensive questions about the past be answered at once.

    question                  at once  of one address  of all
    raw rows (exact=true)           1               3       6
    more than a day of rollups      2              16      64

Quick questions have three places at the database, so two wide ones leave one to those about a day
or less, however many are asked. A page asks some ten at once.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from aegisd.events.units import DAY_US
from aegisd.web.answers.parameters import is_exact, span_of
from aegisd.web.http import Budget, Handler, Request, Response

RAW_SECONDS = 30
"""A question of raw rows takes so long at most."""
WIDE_SECONDS = 5
"""Thirty days of rollups are answered in less."""


class Costly:
    """The budgets; ``now`` gives the time in microseconds since 1970."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._raw = Budget("questions of raw rows", 1, 3, 6, RAW_SECONDS)
        self._wide = Budget("questions about more than a day", 2, 16, 64, WIDE_SECONDS)

    def bounded(self, make: Handler) -> Handler:
        """A handler that answers as ``make`` does, within the budgets. It may raise HttpError."""

        async def answer(request: Request) -> Response:
            async with self._budget(request):
                return await make(request)

        return answer

    def _budget(self, request: Request) -> AbstractAsyncContextManager[None]:
        if is_exact(request):
            return self._raw.taken(request)
        start, end = span_of(request, self._now()) or (0, 0)
        return self._wide.taken(request) if end - start > DAY_US else nullcontext()
