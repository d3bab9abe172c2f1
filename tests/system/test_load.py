"""All events of two busy senders over the Unix socket are counted and stored."""

import threading
from collections.abc import Callable
from typing import Any

import msgpack
from support import Daemon

EVENTS = 200_000  # of each sender
EVENTS_A_MESSAGE = 50


def test_events_of_two_senders_at_a_steady_load_are_all_stored(
    storing: Daemon, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    def send(name: str) -> None:
        event = {"method": "GET", "path": f"/{name}", "status_code": 200, "duration_ms": 1.5}
        message = msgpack.packb([event] * EVENTS_A_MESSAGE)
        with storing.sender() as sender:
            for _ in range(EVENTS // EVENTS_A_MESSAGE):
                sender.send(message)

    senders = [threading.Thread(target=send, args=(name,)) for name in ("one", "other")]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(120)
    storing.wait_for_rows(2 * EVENTS, 120)

    ingest = storing.get("/api/ingest")
    assert ingest["events"]["request"] == 2 * EVENTS
    assert sum(ingest["dropped"].values()) == sum(ingest["rejected"].values()) == 0
    assert ingest["listeners"][0]["messages"] == 2 * EVENTS // EVENTS_A_MESSAGE
    assert storing.get("/api/metrics/realtime")["totalRequests"] == 2 * EVENTS
    assert sorted(rows("SELECT path, count(*) FROM request_metrics GROUP BY path")) == [
        ("/one", EVENTS),
        ("/other", EVENTS),
    ]
