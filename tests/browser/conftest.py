"""Fixtures of the page's tests: a browser, pages that must not complain, quick daemons."""

from collections.abc import Iterator
from typing import Any

import pytest
from browser.chromium import Complaints, MakePage, program, running_browser
from browser.daemons import MakeDaemon, quick_config, start
from playwright.sync_api import Browser, Page, expect
from support import Daemon

WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)

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
def make_quick_daemon(make_daemon: MakeDaemon) -> MakeDaemon:
    """Makes running daemons; the arguments are those of quick_config."""

    def make(**tables: str) -> Daemon:
        daemon = make_daemon(quick_config(**tables))
        start(daemon)
        return daemon

    return make


@pytest.fixture
def quick_daemon(make_quick_daemon: MakeDaemon) -> Daemon:
    """A running daemon without tokens."""
    return make_quick_daemon()
