"""The dashboard: one page and its assets, read once at the start."""

from http import HTTPStatus
from importlib.resources import files

from aegisd.config.settings import WebSocket
from aegisd.web.http import HttpError, Request, Response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = {"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8"}
WEBSOCKET_META = '<meta name="aegisd-websocket" content="{}">'


class PageAnswers:
    """``/`` and ``/assets/…``."""

    def __init__(self, websocket: WebSocket) -> None:
        folder = files("aegisd.web").joinpath("dashboard")
        self._page = _with_websocket(folder.joinpath("index.html").read_text("utf-8"), websocket)
        self._assets = {name: folder.joinpath(name).read_bytes() for name in ASSETS}

    async def page(self, request: Request) -> Response:
        """The page itself."""
        del request
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return Response(HTTPStatus.OK, self._page, "text/html; charset=utf-8", headers)

    async def asset(self, request: Request) -> Response:
        """A script or style sheet of the page."""
        name = request.item
        if name not in ASSETS:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no {request.path}")
        return Response(HTTPStatus.OK, self._assets[name], ASSETS[name])


def _with_websocket(html: str, websocket: WebSocket) -> bytes:
    """The page with the WebSocket's path in it, or with "" where the WebSocket is off."""
    meta = WEBSOCKET_META.format(websocket.path if websocket.enabled else "")
    return html.replace(WEBSOCKET_META.format("/ws/metrics"), meta).encode()
