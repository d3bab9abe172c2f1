"""``aegisd send`` and ``aegisd import`` over the stream of a running daemon."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import Daemon, wait_until

NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"
GOOD = {"method": "GET", "path": "/", "status_code": 200}

MakeStreaming = Callable[..., Daemon]


@pytest.fixture
def make_streaming(make_daemon: Callable[..., Daemon]) -> MakeStreaming:
    """Starts daemons without a database: the stream needs none."""

    def make(**keys: str) -> Daemon:
        environment = {f"AEGISD_{key}": value for key, value in keys.items()}
        daemon = make_daemon(environment={"AEGISD_STORAGE__DSN": NOWHERE} | environment)
        daemon.start()
        return daemon

    return make


def to(daemon: Daemon) -> tuple[str, str]:
    return "--to", f"stream:{daemon.runtime}/stream.sock"


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def accepted(daemon: Daemon) -> int:
    return sum(daemon.get("/api/ingest")["events"].values())


def test_import_reports_rejects_of_the_daemon(
    make_streaming: MakeStreaming, tmp_path: Path
) -> None:
    daemon, now = make_streaming(), time.time()
    times = [now - 60 * 86_400] * 120 + [now] * 30
    moments = [datetime.fromtimestamp(moment, UTC) for moment in times]
    log = tmp_path / "access.log"
    log.write_text(
        "".join(f'::1 - - [{m:%d/%b/%Y:%H:%M:%S} +0000] "GET / HTTP/1.1" 200 5\n' for m in moments)
    )
    done = daemon.run("import", *to(daemon), str(log))
    assert done.returncode == 1
    assert done.stdout == (
        "150 events sent and acknowledged, 0 lines could not be read, 120 rejected\n"
    )
    told = [f"line {i} was rejected: out_of_range timestamp" for i in range(1, 6)]
    assert done.stderr.splitlines() == told
    assert accepted(daemon) == 30


def test_line_dated_far_ahead_is_one_reject_of_a_rebased_log(
    make_streaming: MakeStreaming, tmp_path: Path
) -> None:
    daemon = make_streaming()
    days = ["01/Jan/2099", *["24/Nov/2016"] * 20]
    log = tmp_path / "access.log"
    log.write_text("".join(f'::1 - - [{d}:10:00:00 +0000] "GET / HTTP/1.1" 200 5\n' for d in days))
    done = daemon.run("import", "--rebase", str(log))
    assert done.returncode == 1
    assert done.stderr == "line 1 was rejected: out_of_range timestamp\n"
    daemon.wait_for_events(20)
    assert daemon.get("/api/ingest")["rejected"]["out_of_range"] == 1
    realtime = daemon.get("/api/metrics/realtime")
    assert realtime["requestsPerSecond"] > 0, "the others are of the last minute"


def test_send_reports_rejected_lines_and_others_are_taken(
    make_streaming: MakeStreaming,
) -> None:
    daemon = make_streaming()
    old, large = GOOD | {"timestamp": 1e9}, GOOD | {"more": "x" * 1024 * 1024}
    almost = GOOD | {"more": "x" * 1_000_000}
    done = daemon.run("send", *to(daemon), "-", input_=lines(GOOD, old, large, almost, GOOD))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "line 2 was rejected: out_of_range timestamp",
        "line 3 is longer than 1048576 bytes",
        "aegisd: 4 events sent and acknowledged, 1 lines could not be read, 1 rejected",
    ]
    assert accepted(daemon) == 3


def test_send_of_a_rejected_event_fails_with_the_reason(
    make_streaming: MakeStreaming,
) -> None:
    daemon = make_streaming()
    done = daemon.run(
        "send", *to(daemon), "method=GET", "path=/", "status_code=200", "timestamp=1000000000"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "aegisd: the event was rejected: out_of_range timestamp\n"


def test_message_over_the_daemons_limit_fails_with_the_reason(
    make_streaming: MakeStreaming,
) -> None:
    daemon = make_streaming(INGEST__MAX_MESSAGE_BYTES="100000")
    large = GOOD | {"more": "x" * 500_000}  # more than a socket holds: sending fails midway
    done = daemon.run("send", *to(daemon), "-", input_=lines(GOOD, large, GOOD))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert "at most 100000 are taken" in first
    assert second == (
        "aegisd: 1 events sent and acknowledged, 0 lines could not be read, the rest was not sent"
    )


def test_send_over_a_restart_ends_with_the_acknowledged_count(
    make_streaming: MakeStreaming,
) -> None:
    daemon = make_streaming()
    process = subprocess.Popen(
        daemon.command("send", *to(daemon), "-"),
        env=daemon.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(lines(GOOD, GOOD, GOOD))
        process.stdin.flush()
        wait_until(lambda: accepted(daemon) == 3, "three events are accepted")
        daemon.stop()
        daemon.start()
        out, err = process.communicate(lines(GOOD, GOOD), timeout=60)
    assert (process.returncode, out) == (1, b"")
    first, second = err.decode().splitlines()
    assert first.startswith(f"aegisd: can't send to {to(daemon)[1]}: the daemon closed the connect")
    # the last answer may have been on its way
    assert re.fullmatch(
        "aegisd: [23] events sent and acknowledged, 0 lines could not be read, "
        "the rest was not sent",
        second,
    )
