"""The pictures in docs/images, taken only on demand, as tests leave the tree as it is.

AEGISD_SCREENSHOTS=1 python -m pytest tests/browser/test_screenshots.py
"""

import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from browser.chromium import MakePage
from playwright.sync_api import expect
from support import Daemon

pytestmark = pytest.mark.skipif(
    not os.environ.get("AEGISD_SCREENSHOTS"), reason="AEGISD_SCREENSHOTS is not set"
)

IMAGES = Path(__file__).parents[2] / "docs/images"
MOST_BYTES = 200_000
PAST_SECONDS = 16 * 60
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5}
DESK = {"viewport": {"width": 1280, "height": 1240}}

ENDPOINTS = [  # method, path, share of the requests, typical duration in ms, backend
    ("GET", "/api/products/{id}", 34, 12, "catalogue-1"),
    ("GET", "/api/products", 22, 28, "catalogue-2"),
    ("GET", "/api/carts/{id}", 14, 9, "carts-1"),
    ("POST", "/api/carts/{id}/items", 9, 18, "carts-1"),
    ("GET", "/api/search", 8, 85, "search-1"),
    ("POST", "/api/orders", 5, 140, "orders-1"),
    ("GET", "/api/orders/{id}", 5, 22, "orders-1"),
    ("POST", "/api/sessions", 2, 210, "accounts-1"),
    ("DELETE", "/api/carts/{id}", 1, 15, "carts-1"),
]
INCIDENT = range(200, 330)  # seconds ago: orders-1 is slow and fails


def requests_of(second: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """The requests of a second, so many seconds ago."""
    wave = 14 + 5 * math.sin(second / 140) + chance.gauss(0, 1.5)
    weights = [share for _, _, share, _, _ in ENDPOINTS]
    for method, path, _, typical, backend in chance.choices(ENDPOINTS, weights, k=int(wave)):
        ill = backend == "orders-1" and second in INCIDENT
        usual = chance.choices([200, 201, 304, 404, 429, 500], [900, 40, 60, 8, 4, 1])[0]
        yield {
            "method": method,
            "path": path,
            "route": path,
            "backend": backend,
            "status_code": 503 if ill and chance.random() < 0.9 else usual,
            "duration_ms": typical * chance.lognormvariate(0, 0.5) * (9 if ill else 1),
            "timestamp": time() - second - chance.random(),
        }


@pytest.fixture
def shop(quick_daemon: Daemon) -> Daemon:
    """A daemon that a shop's gateway has reported to for a while."""
    chance = random.Random(7)
    for second in range(PAST_SECONDS, 0, -1):
        quick_daemon.emit(list(requests_of(second, chance)))
    for _, _, _, typical, backend in ENDPOINTS:
        report = {"kind": "backend", "backend_name": backend, "response_time_ms": typical / 4}
        quick_daemon.emit(report | {"status": "healthy", "circuit_breaker": "closed"})
    ill = {"backend_name": "orders-1", "status": "unhealthy", "circuit_breaker": "half_open"}
    quick_daemon.emit({"kind": "backend", "response_time_ms": 480.0} | ill)
    keys = [f"customer-{chance.randrange(12):02}" for _ in range(4_000)]
    quick_daemon.emit(
        [
            {"kind": "rate_limit", "key": key, "allowed": chance.random() > 0.06}
            for key in keys[:500]
        ]
    )
    quick_daemon.emit({"kind": "system", "active_connections": 37})
    return quick_daemon


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dashboard-light", DESK | {"color_scheme": "light"}),
        ("dashboard-dark", DESK | {"color_scheme": "dark"}),
        ("dashboard-phone", PHONE | {"color_scheme": "light"}),
    ],
)
def test_picture(shop: Daemon, make_page: MakePage, name: str, options: dict[str, Any]) -> None:
    page = make_page(**options)
    page.goto(shop.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#endpoints tbody tr")).to_have_count(len(ENDPOINTS))
    expect(page.locator("#rate-limits tbody tr")).not_to_have_count(0)
    expect(page.locator("#heatmap canvas").first).to_be_visible()
    IMAGES.mkdir(exist_ok=True)
    picture = IMAGES / f"{name}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size <= MOST_BYTES
