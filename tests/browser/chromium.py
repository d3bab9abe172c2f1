"""A real Chromium, driven by Playwright, and what its pages complain of."""

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch
from urllib.parse import urlsplit

from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MakePage = Callable[..., Page]
OWN_HOSTS = frozenset({"127.0.0.1", "localhost", "elsewhere.localhost"})


def program() -> str | None:
    """Chromium, where there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without any page."""
    with ExitStack() as stack:
        # where trio-asyncio was imported it makes the loops, and its own don't let Playwright in
        with patch("asyncio.new_event_loop", asyncio.SelectorEventLoop):
            playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=program(), args=list(ARGUMENTS))
        yield browser
        browser.close()


@define(slots=False)  # Playwright keeps its own wrapper of each listener beside it
class Complaints:
    """Errors and warnings of all pages of a test, and requests to other hosts."""

    _seen: list[str] = field(factory=list)
    _expected: list[re.Pattern[str]] = field(factory=list)

    def expect(self, pattern: str) -> None:
        """Complaints that contain this are the test's purpose."""
        self._expected.append(re.compile(pattern))

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", lambda error: self._seen.append(f"thrown: {error.error}"))
        context.on("request", lambda request: self._address(request.url))
        context.on("page", self._page)

    def unexpected(self) -> list[str]:
        return [text for text in self._seen if not any(p.search(text) for p in self._expected)]

    def _page(self, page: Page) -> None:
        page.on("websocket", lambda websocket: self._address(websocket.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            where = message.location.get("url", "")
            self._seen.append(f"{message.type}: {message.text} ({where})")

    def _address(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data" and parts.hostname not in OWN_HOSTS:
            self._seen.append(f"another host was asked: {url}")
