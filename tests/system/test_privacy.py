"""What settings remove stands neither in the database nor in any answer or log."""

from collections.abc import Callable
from typing import Any

import pytest
from support import Daemon

EVENT = {"method": "GET", "status_code": 500, "duration_ms": 5, "error_message": "down"}
# path and route with queries and parameters, and the path and the endpoint that stay without
QUERIES = [
    ("/users/ann?token=hidden", None, "/users/ann", "/users/{name}"),
    ("/a#hidden", None, "/a", "/a"),
    ("/a?hidden", None, "/a", "/a"),
    ("/?x?hidden=/#", None, "/", "/"),
    ("/s;jsessionid=hidden//b", None, "/s//b", "/s/b"),
    ("/b?x=hidden", "/b/:id?", "/b", "/b/:id?"),
    ("/c", "/c;x=hidden", "/c", "/c"),
    ("/c", "/c?token=hidden", "/c", "/c"),
]
# an address, and what is left of it
ADDRESSES = [
    ("192.0.2.77", "192.0.2.0"),
    ("::ffff:192.0.2.77", "192.0.2.0"),
    ("2002:c000:24d::1", "192.0.2.0"),
    ("fe80::7:7%hidden", "fe80::"),
    ("2001:db8:1:7::7", "2001:db8:1::"),
    ("192.0.2.77:7070", None),
    ("[2001:db8:1:7::7]:7070", None),
    ("hidden", None),
]
EVENTS = [
    EVENT | {"path": path, "route": route, "client_ip": address}
    for path, route, _, _ in QUERIES
    for address, _ in ADDRESSES
]
ANSWERS = (
    *("/api/ingest", "/api/status", "/metrics", "/api/alerts", "/api/metrics/realtime"),
    *("/api/metrics/overview", "/api/metrics/top-endpoints", "/api/metrics/backends"),
)
CONFIG = """
[paths]
patterns = ["/users/{name}"]
[privacy]
"""


def shown(daemon: Daemon) -> str:
    """All answers and the log."""
    return "".join([daemon.fetch(path)[1] for path in ANSWERS] + [daemon.log()])


@pytest.mark.parametrize(
    ("client_ip", "strip_query"),
    [("full", True), ("truncate", True), ("truncate", False), ("drop", True), ("drop", False)],
)
def test_address_and_query_removed_by_settings_are_neither_stored_nor_shown(
    make_storing: Callable[..., Daemon],
    rows: Callable[..., list[tuple[Any, ...]]],
    client_ip: str,
    strip_query: bool,
) -> None:
    daemon = make_storing(CONFIG, PRIVACY__CLIENT_IP=client_ip)
    daemon.environment["AEGISD_PRIVACY__STRIP_QUERY"] = str(strip_query).lower()
    daemon.start()
    daemon.emit(EVENTS)
    daemon.wait_for_rows(len(EVENTS))

    kept = {
        "full": [address for address, _ in ADDRESSES],
        "truncate": [network for _, network in ADDRESSES],
        "drop": [None] * len(ADDRESSES),
    }[client_ip]
    stored = rows("SELECT path, endpoint, client_ip FROM request_metrics")
    if strip_query:
        expected = [(path, name, a) for _, _, path, name in QUERIES for a in kept]
        assert sorted(stored, key=str) == sorted(expected, key=str)
        assert "hidden" not in shown(daemon)
    else:
        expected = [(sent, a) for sent, *_ in QUERIES for a in kept]
        assert sorted(((path, a) for path, _, a in stored), key=str) == sorted(expected, key=str)
    assert not [address for address, _ in ADDRESSES[:-1] if address in shown(daemon)]


def test_preview_of_a_reject_shows_no_address_that_is_removed(
    make_storing: Callable[..., Daemon],
) -> None:
    daemon = make_storing(PRIVACY__CLIENT_IP="truncate")
    daemon.start()
    daemon.emit({"client_ip": "192.0.2.77"}, b"\xc1192.0.2.77", EVENT | {"path": "/"})
    daemon.wait_for_events(1)
    rejects = daemon.get("/api/ingest")["recentRejects"]
    assert sorted((reject["reason"], reject["preview"]) for reject in rejects) == [
        ("malformed", ""),
        ("missing_field", ""),
    ]
