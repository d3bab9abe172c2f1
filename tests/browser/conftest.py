"""Fixtures of the page's tests: a browser, pages that must not complain, quick daemons."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser.chromium import Complaints, program, running_browser
from conftest import DAEMON_CONFIG
from playwright.sync_api import Browser, Page
from support import Daemon, wait_until

MakePage = Callable[..., Page]

QUICK = """
[dashboard.websocket]
update_interval_ms = 100
[alerts]
check_interval_ms = 100
"""
QUICK_CONFIG = DAEMON_CONFIG + QUICK
WAIT_MS = 30_000
VIEWER = {"locale": "en-GB", "timezone_id": "Europe/Berlin", "reduced_motion": "reduce"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if program() is None:
        for item in items:
            if "tests/browser/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="there is no Chromium"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser of a module's tests.

    Playwright keeps its event loop running in this thread, and no other test could run one of its
    own: so it ends with the module.
    """
    with running_browser() as browser:
        yield browser


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What pages complain of. There must be none that the test does not expect."""
    complaints = Complaints()
    yield complaints
    assert complaints.unexpected() == []


@pytest.fixture
def make_page(complaints: Complaints, browser: Browser) -> Iterator[MakePage]:
    """Makes empty pages, each as a viewer of its own. Options: Playwright's of contexts."""
    contexts = []

    def make(**options: Any) -> Page:
        context = browser.new_context(**{**VIEWER, **options})
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        complaints.watch(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(make_page: MakePage) -> Page:
    """One empty page."""
    return make_page()


@pytest.fixture
def make_quick_daemon(make_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """Makes running daemons that publish and check ten times a second, their database there."""

    def make(config: str = "") -> Daemon:
        daemon = make_daemon(QUICK_CONFIG + config)
        daemon.start()
        wait_until(
            lambda: daemon.get("/api/status")["database"]["connected"], "the database is there"
        )
        return daemon

    return make


@pytest.fixture
def quick_daemon(make_quick_daemon: Callable[..., Daemon]) -> Daemon:
    """Such a daemon."""
    return make_quick_daemon()
