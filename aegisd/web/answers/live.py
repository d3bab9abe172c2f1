"""What is answered from the live state, without the database."""

from collections.abc import Callable

from aegisd.live import ObservedBackend, Overview
from aegisd.web import views
from aegisd.web.http import Request, Response, success


class LiveAnswers:
    """``/api/metrics/realtime`` and ``/backends``.

    ``overview`` is the live state's as of now, ``observed`` the backends that requests name.
    """

    def __init__(
        self, overview: Callable[[], Overview], observed: Callable[[], list[ObservedBackend]]
    ) -> None:
        self._overview = overview
        self._observed = observed

    async def realtime(self, request: Request) -> Response:
        """The overview of this daemon."""
        del request
        return success(views.overview(self._overview()))

    async def backends(self, request: Request) -> Response:
        """The latest report of each backend, and what requests tell of it."""
        del request
        return success(views.backends(self._overview().backends, self._observed()))
