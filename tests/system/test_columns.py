"""A gateway that sends its requests as columns."""

import struct
from collections.abc import Callable
from typing import Any

from support import Daemon

ROWS = 500


def test_columns_message_is_stored_and_shown_and_its_bad_rows_are_counted(
    storing: Daemon, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    statuses = [200] * (ROWS - 2) + [503, 1000]
    columns = {
        "method": "GET",
        "path": {"values": ["/users/1", "/users/2"], "index": bytes(i % 2 for i in range(ROWS))},
        "status_code": struct.pack(f"<{ROWS}H", *statuses),
        "duration_ms": struct.pack(f"<{ROWS}f", *[12.5] * ROWS),
    }
    message = {"v": 1, "source": "gw-1", "seq": 0, "n": ROWS, "columns": columns}
    short = message | {"seq": ROWS, "columns": columns | {"duration_ms": bytes(6)}}
    storing.emit(message, short, {"source": "gw-1", "seq": 2 * ROWS})
    storing.wait_for_rows(ROWS - 1)

    ingest = storing.get("/api/ingest")
    assert ingest["events"]["request"] == ROWS - 1
    assert {k: v for k, v in ingest["rejected"].items() if v} == {
        "out_of_range": 1,
        "malformed": ROWS,
    }
    assert [(s["source"], s["received"], s["lost"]) for s in ingest["sources"]] == [
        ("gw-1", 2 * ROWS, 0)
    ]
    assert storing.get("/api/metrics/realtime")["failedRequests"] == 1
    assert rows(
        "SELECT method, endpoint, status_code, duration_ms, count(*)"
        " FROM request_metrics GROUP BY 1, 2, 3, 4 ORDER BY 3"
    ) == [("GET", "/users/{id}", 200, 12.5, ROWS - 2), ("GET", "/users/{id}", 503, 12.5, 1)]
