"""The page in a real browser, with the real daemon behind it."""

from collections.abc import Callable

import pytest
from browser.chromium import open_page, program
from conftest import DAEMON_CONFIG
from support import Daemon, wait_until

pytestmark = pytest.mark.skipif(program() is None, reason="there is no Chromium")

QUICK = """
[dashboard.websocket]
update_interval_ms = 100
[alerts]
check_interval_ms = 100
"""
HOSTILE = "/<img src=x onerror=document.title='taken'>"


@pytest.fixture
def quick_daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    daemon = make_daemon(DAEMON_CONFIG + QUICK)
    daemon.start()
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "the database is there")
    return daemon


def shown(field: str) -> str:
    return f"document.querySelector('[data-field={field}]').value"


async def test_page_shows_new_events(quick_daemon: Daemon) -> None:
    async with open_page(quick_daemon.url) as page:
        await page.until("document.querySelector('#connection')?.dataset.state === 'live'")
        await page.until("!document.querySelector('#first-event').hidden")

        request = {"method": "GET", "path": "/users/1", "status_code": 200, "duration_ms": 12.5}
        quick_daemon.emit([request] * 20, request | {"path": HOSTILE})
        quick_daemon.emit({"kind": "backend", "backend_name": "users-1", "status": "unhealthy"})
        await page.until(f"{shown('totalRequests')} === '21'")
        await page.until("document.querySelector('#first-event').hidden")
        await page.until(
            "document.querySelector('#backends tbody tr[data-backend=users-1]')"
            "?.dataset.status === 'unhealthy'"
        )
        paths = "[...document.querySelectorAll('#endpoints tbody [data-cell=path]')]"
        await page.until(f"{paths}.some(cell => cell.textContent.trim() === '/users/{{id}}')")
        assert await page.value(f"{paths}.some(cell => cell.textContent.includes('<img src'))")
        assert await page.value("document.title !== 'taken'")

        quick_daemon.emit([request | {"status_code": 500}] * 20)
        await page.until("!!document.querySelector('#alerts tbody tr[data-status=active]')")
        assert page.errors == []


async def test_page_shows_a_lost_connection_and_reconnects(
    quick_daemon: Daemon,
) -> None:
    port = int(quick_daemon.url.rpartition(":")[2])
    async with open_page(quick_daemon.url) as page:
        await page.until("document.querySelector('#connection')?.dataset.state === 'live'")
        quick_daemon.stop()
        await page.until("document.querySelector('#connection').dataset.state === 'lost'")
        quick_daemon.config.write_text(
            (DAEMON_CONFIG + QUICK).replace(
                '[http]\nlisten = "127.0.0.1:0"', f'[http]\nlisten = "127.0.0.1:{port}"'
            )
        )
        quick_daemon.start()
        await page.until("document.querySelector('#connection').dataset.state === 'live'")
