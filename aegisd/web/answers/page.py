"""The dashboard: one page and its assets, all of them read once at the start.

Every address in the page is relative to its own, so it works below any path of a proxy.
"""

from collections.abc import Iterator
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

import structlog

from aegisd.config.settings import WebSocket
from aegisd.web.http import HttpError, Request, Response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CONTENT_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
"""Files of the dashboard's folder that have one of these suffixes are assets."""

WEBSOCKET_META = '<meta name="aegisd-websocket" content="{}">'
PLOTS_SCRIPT = "vendor/uPlot.iife.min.js"
MODULES_MARK = "<!-- modules -->"
MODULES_FOLDER = "js/"

log = structlog.get_logger()


class PageAnswers:
    """``/`` and ``/assets/…``. ``assets`` has the files' bytes by their paths."""

    def __init__(self, websocket: WebSocket) -> None:
        folder = files("aegisd.web").joinpath("dashboard")
        self.assets = dict(_assets_in(folder, PurePosixPath()))
        if PLOTS_SCRIPT not in self.assets:
            log.warning("the dashboard can't draw plots: uPlot is missing; 'make venv' fetches it")
        html = folder.joinpath("index.html").read_text("utf-8")
        html = html.replace(MODULES_MARK, _preloads(self.assets))
        self._page = _with_websocket(html, websocket)

    async def page(self, request: Request) -> Response:
        """The page itself."""
        del request
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return Response(HTTPStatus.OK, self._page, "text/html; charset=utf-8", headers)

    async def asset(self, request: Request) -> Response:
        """A script or style sheet of the page."""
        name = request.item
        if name not in self.assets:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no {request.path}")
        content_type = CONTENT_TYPES[PurePosixPath(name).suffix]
        return Response(HTTPStatus.OK, self.assets[name], content_type)


def _assets_in(folder: Traversable, place: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    """The assets in a folder and below, by their paths, in a fixed order."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = place / entry.name
        if entry.is_dir():
            yield from _assets_in(entry, path)
        elif path.suffix in CONTENT_TYPES:
            yield str(path), entry.read_bytes()


def _preloads(assets: dict[str, bytes]) -> str:
    """Links that have all modules loaded at once, not each after the one that imports it."""
    modules = [name for name in assets if name.startswith(MODULES_FOLDER)]
    return "\n  ".join(f'<link rel="modulepreload" href="assets/{name}">' for name in modules)


def _with_websocket(html: str, websocket: WebSocket) -> bytes:
    """The page with the WebSocket's path in it, or with "" where the WebSocket is off."""
    path = websocket.path.removeprefix("/") if websocket.enabled else ""
    return html.replace(WEBSOCKET_META.format("ws/metrics"), WEBSOCKET_META.format(path)).encode()
