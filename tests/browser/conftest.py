"""Fixtures of the page's tests: a browser, pages that must not complain, quick daemons."""

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that has pages in Playwright's thread."""
    if "browser_thread" not in pyfuncitem.fixturenames:
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    pyfuncitem.funcargs["browser_thread"].submit(pyfuncitem.obj, **arguments).result()
    return True


@pytest.fixture(scope="session")
def browser_thread() -> Iterator[ThreadPoolExecutor]:
    """The thread that Playwright keeps its event loop running in.

    In the main thread, no other test of this process could run trio or asyncio.
    """
    with ThreadPoolExecutor(1) as thread:
        yield thread


@pytest.fixture(scope="session")
def browser(browser_thread: ThreadPoolExecutor) -> Iterator[Browser]:
    """The browser of all tests."""
    running = running_browser()
    yield browser_thread.submit(running.__enter__).result()
    browser_thread.submit(running.__exit__, None, None, None).result()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What pages complain of. There must be none that the test does not expect."""
    complaints = Complaints()
    yield complaints
    assert complaints.unexpected() == []


@pytest.fixture
def make_page(
    complaints: Complaints, browser: Browser, browser_thread: ThreadPoolExecutor
) -> Iterator[MakePage]:
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
        browser_thread.submit(context.close).result()


@pytest.fixture
def page(make_page: MakePage, browser_thread: ThreadPoolExecutor) -> Page:
    """One empty page."""
    return browser_thread.submit(make_page).result()


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
