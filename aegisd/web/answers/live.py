"""What is answered from the live state, without the database."""

from collections.abc import Callable

from aegisd.live import Overview
from aegisd.web import views
from aegisd.web.http import Request, Response, success


class LiveAnswers:
    """``/api/metrics/realtime`` and ``/backends``; ``overview`` is the live state's, as of now."""

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview

    async def realtime(self, request: Request) -> Response:
        """The overview of this daemon."""
        del request
        return success(views.overview(self._overview()))

    async def backends(self, request: Request) -> Response:
        """The latest report of each backend."""
        del request
        return success(views.backends(self._overview().backends))
