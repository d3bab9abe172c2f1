"""Answers that are given again, as long as they would be the same.

Many clients ask the same: pages that show the same range, scripts that poll. A finished answer is
kept until something comes in or a second is over. While it is being made, those who ask the same
wait for it. Errors are not kept: they go to those who wait, and the next one tries anew.
"""

from collections.abc import Callable, Hashable

import trio
from attrs import define, field, frozen

from aegisd.web.http.contents import Fitting, takes_gzip
from aegisd.web.http.message import Handler, Request, Response

MAX_KEPT = 256
MAX_KEPT_BYTES = 8 * 1024 * 1024
"""Bounds on what is kept; they matter for a second. More answers are made and not kept."""

Key = tuple[str, tuple[tuple[str, str], ...], bool, bool]


@define(eq=False)
class _Making:
    """An answer that is being made, and what became of it; neither if its client left."""

    version: Hashable
    done: trio.Event = field(factory=trio.Event)
    response: Response | None = None
    error: Exception | None = None


class Kept:
    """The finished answers of one source; while ``version`` gives the same, they are good."""

    def __init__(self, version: Callable[[], Hashable], fitting: Fitting) -> None:
        self._version = version
        self._fitting = fitting
        self._seen: Hashable = None
        self._finished: dict[Key, Response] = {}
        self._bytes = 0
        self._making: dict[Key, _Making] = {}

    def ready(self, request: Request) -> Response | None:
        """The answer, where it is there."""
        version = self._version()
        if version != self._seen:
            self._seen = version
            self._finished.clear()
            self._bytes = 0
        return self._finished.get(_key(request))

    async def answer(self, make: Handler, request: Request) -> Response:
        """The answer, made by ``make`` where it must be. Raises what that raises."""
        key = _key(request)
        while (ready := self.ready(request)) is None:
            making = self._making.get(key)
            if making is None or making.version != self._seen:
                return await self._make(make, request, key)
            await making.done.wait()
            if making.error is not None:
                raise making.error
            if making.response is not None:
                return making.response
        return ready

    async def _make(self, make: Handler, request: Request, key: Key) -> Response:
        making = self._making[key] = _Making(self._seen)
        try:
            making.response = await self._fitting.fit(request, await make(request))
        except Exception as error:
            making.error = error
            raise
        finally:
            making.done.set()
            if self._making.get(key) is making:
                del self._making[key]
        self._keep(making, key, making.response)
        return making.response

    def _keep(self, making: _Making, key: Key, response: Response) -> None:
        size = self._bytes + len(response.body)
        fits = len(self._finished) < MAX_KEPT and size <= MAX_KEPT_BYTES
        if fits and making.version == self._seen == self._version():
            self._finished[key] = response
            self._bytes = size


@frozen
class KeptHandler:
    """A handler whose answers depend on path and query alone, and whether an admin asks."""

    kept: Kept
    make: Handler

    async def __call__(self, request: Request) -> Response:
        """Give the answer, made now if it isn't there."""
        return await self.kept.answer(self.make, request)

    def ready(self, request: Request) -> Response | None:
        """Give the answer if it is there, without waiting."""
        return self.kept.ready(request)


def _key(request: Request) -> Key:
    return request.path, tuple(request.query.items()), request.admin, takes_gzip(request)
