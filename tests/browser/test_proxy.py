"""The page behind a real nginx."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser.chromium import Complaints
from browser.daemons import ADMIN, FAILURE, GUARDED, MakeDaemon
from browser.nginx import UPGRADE, program, running_nginx
from playwright.sync_api import Page, expect
from support import Daemon

pytestmark = pytest.mark.skipif(program() is None, reason="there is no nginx")

Behind = Callable[..., int]


@pytest.fixture
def behind(directory: Path) -> Iterator[Behind]:
    """Starts an nginx in front of a daemon; gives its port."""
    with ExitStack() as running:

        def start(daemon: Daemon, lines: str, location: str = "/") -> int:
            return running.enter_context(running_nginx(directory, daemon.url, lines, location))

        yield start


def expect_state(page: Page, state: str) -> None:
    expect(page.locator("#connection")).to_have_attribute("data-state", state)


@pytest.mark.parametrize("host", ["$host", "$http_host", "$proxy_host"])
def test_page_below_a_path_logs_in_and_is_live(
    make_quick_daemon: MakeDaemon, behind: Behind, page: Page, host: str
) -> None:
    daemon = make_quick_daemon(http=GUARDED + '\ntrusted_proxies = ["127.0.0.1"]')
    forwarded = (
        "proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $remote_addr;"
    )
    lines = UPGRADE + forwarded + f"proxy_set_header Host {host};"
    port = behind(daemon, lines, "/deep/aegisd/")
    page.goto(f"http://127.0.0.1:{port}/deep/aegisd/")
    page.get_by_label("Token").fill(ADMIN)
    page.get_by_role("button", name="Log in").click()
    expect_state(page, "live")
    daemon.emit([FAILURE] * 20)
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".alert[data-status=acknowledged]")).to_be_visible()
    assert page.url == f"http://127.0.0.1:{port}/deep/aegisd/"


def test_proxy_that_passes_no_upgrade_is_told_and_the_page_polls(
    quick_daemon: Daemon, behind: Behind, page: Page, complaints: Complaints
) -> None:
    complaints.expect("WebSocket connection to|status of 426")
    page.goto(f"http://127.0.0.1:{behind(quick_daemon, '')}/")
    expect_state(page, "polling")
    expect(page.locator("#connection-reason")).to_contain_text("doesn't pass WebSocket on")
    quick_daemon.emit({"kind": "backend", "backend_name": "b", "status": "healthy"})
    expect(page.locator("#backends tr[data-backend=b]")).to_be_visible()


def test_page_at_an_address_that_the_daemon_does_not_know_is_told_what_to_set(
    quick_daemon: Daemon, behind: Behind, page: Page, complaints: Complaints
) -> None:
    complaints.expect("WebSocket connection to|status of 403")
    port = behind(quick_daemon, UPGRADE + "proxy_set_header Host $proxy_host;")
    page.goto(f"http://elsewhere.localhost:{port}/")
    expect_state(page, "polling")
    reason = page.locator("#connection-reason")
    expect(reason).to_contain_text("dashboard.websocket.allowed_origins")


def test_daemon_that_is_away_behind_its_proxy_is_told(
    quick_daemon: Daemon, behind: Behind, page: Page, complaints: Complaints
) -> None:
    complaints.expect("WebSocket connection to|status of 502")
    port = behind(quick_daemon, UPGRADE + "proxy_set_header Host $http_host;")
    page.goto(f"http://127.0.0.1:{port}/")
    expect_state(page, "live")
    quick_daemon.stop()
    expect_state(page, "lost")
    expect(page.locator("#connection-reason")).to_contain_text("(502)")
