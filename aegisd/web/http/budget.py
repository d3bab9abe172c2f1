"""A budget for expensive questions, so that those who ask them leave room to all others."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import trio

from aegisd.web.http.addresses import network_of
from aegisd.web.http.message import HttpError, Request


class Budget:
    """``running`` questions at once; the others wait. Of one address there are ``of_network``.

    An address is an IPv6 network (``network_of``). ``what`` is for the error's message; in
    ``seconds`` a client may try again.
    """

    def __init__(self, what: str, running: int, of_network: int, of_all: int, seconds: int) -> None:
        self._what = what
        self._limiter = trio.CapacityLimiter(running)
        self._of_network = of_network
        self._of_all = of_all
        self._later = {"Retry-After": str(seconds)}
        self._asked: Counter[str] = Counter()  # running or waiting, by network

    @asynccontextmanager
    async def taken(self, request: Request) -> AsyncIterator[None]:
        """Hold a place of the budget. Raises HttpError where too many have been asked."""
        network = network_of(request.peer)
        if self._asked[network] >= self._of_network:
            raise self._refused(HTTPStatus.TOO_MANY_REQUESTS, f"{self._of_network} of this address")
        if self._asked.total() >= self._of_all:
            raise self._refused(HTTPStatus.SERVICE_UNAVAILABLE, str(self._of_all))
        self._asked[network] += 1
        try:
            async with self._limiter:
                yield
        finally:
            self._asked[network] -= 1
            if not self._asked[network]:
                del self._asked[network]

    def _refused(self, status: int, how_many: str) -> HttpError:
        message = f"{self._what}: {how_many} run or wait; ask again later"
        return HttpError(status, "busy", message, self._later)
