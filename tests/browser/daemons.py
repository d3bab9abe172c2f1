"""Daemons behind the page: they publish and check ten times a second."""

import hashlib
import json
from collections.abc import Callable

from conftest import DAEMON_CONFIG
from support import Daemon, wait_until

QUICK = """
[dashboard.websocket]
update_interval_ms = 100
{websocket}
[alerts]
check_interval_ms = 100
"""
MakeDaemon = Callable[..., Daemon]

VIEWER, ADMIN = "viewer-token-of-a-test", "admin-token-of-a-test"
TOKENS = ", ".join(
    f'{{ name = "{role} <b>", sha256 = "{hashlib.sha256(token.encode()).hexdigest()}",'
    f' role = "{role}" }}'
    for role, token in {"viewer": VIEWER, "admin": ADMIN}.items()
)
GUARDED = f"tokens = [{TOKENS}]"
"""A line of the table http: ``VIEWER`` and ``ADMIN`` are the tokens."""

REQUEST = {"method": "GET", "path": "/users/1", "status_code": 200, "duration_ms": 12.5}
FAILURE = REQUEST | {"status_code": 500}


def quick_config(http: str = "", websocket: str = "") -> str:
    """A configuration with more lines in the tables http and dashboard.websocket."""
    tables = DAEMON_CONFIG.replace("[http]\n", f"[http]\n{http}\n")
    return tables + QUICK.format(websocket=websocket)


def start(daemon: Daemon) -> None:
    """Start it, and wait until its database is there."""
    daemon.start()
    wait_until(lambda: is_connected(daemon), "the database is there")


def is_connected(daemon: Daemon) -> bool:
    status, body = daemon.fetch("/api/status", Authorization=f"Bearer {ADMIN}")
    assert status == 200, body
    return bool(json.loads(body)["data"]["database"]["connected"])


def keep_address(daemon: Daemon) -> None:
    """Have it come back at the address that it has now."""
    address = daemon.url.removeprefix("http://")
    config = daemon.config.read_text()
    daemon.config.write_text(config.replace('listen = "127.0.0.1:0"', f'listen = "{address}"'))
