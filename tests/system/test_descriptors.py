"""Clients that take all the descriptors they can get leave some to the journal and the database."""

import contextlib
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from streams import Stream
from support import Daemon, wait_until

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

LIMITED = ("sh", "-c", 'ulimit -n 400 && exec "$@"', "sh")
GOOD = {"method": "GET", "path": "/a", "status_code": 200}


def test_events_are_stored_beside_more_clients_than_descriptors(
    make_storing: MakeStoring, rows: Rows
) -> None:
    daemon = make_storing()
    daemon.start(*LIMITED)
    assert "LimitNOFILE" in daemon.log()
    address = urlsplit(daemon.url)
    with contextlib.ExitStack() as clients:
        for _ in range(400):
            with contextlib.suppress(OSError):
                web = socket.create_connection((address.hostname, address.port), timeout=10)
                clients.enter_context(web)
            with contextlib.suppress(OSError):
                clients.enter_context(Stream(daemon.runtime / "stream.sock"))
        for number in range(50):
            daemon.emit(*[GOOD] * 20)
            daemon.wait_for_events(20 * (number + 1))
        wait_until(lambda: rows("SELECT count(*) FROM request_metrics") == [(1000,)], "stored")
        assert "Too many open files" not in daemon.log()
        _, metrics = daemon.fetch("/metrics")
        (refused,) = re.findall(
            r"^aegisd_stream_connections_refused_total\S* (\S+)$", metrics, re.M
        )
        assert float(refused) > 200
    wait_until(lambda: acknowledged(daemon), "there is room again")


def acknowledged(daemon: Daemon) -> bool:
    with Stream(daemon.runtime / "stream.sock") as stream:
        answer = stream.ask({"source": "s", "seq": 0, "events": [GOOD]})
        return answer is not None and "ack" in answer
