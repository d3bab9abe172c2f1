"""``aegisd import``: a log sent as events."""

import os
import pty
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import msgpack
import pytest

from aegisd.cli.sending.senders import MAX_GATHERED_BYTES

SHARED = Path(__file__).parents[2].parent / "shared"
LOG = SHARED / "data/apache_access.log"
OUTLIER = SHARED / "cases/05-outlier.log"
NOT_TOLD = (
    "datagrams are not answered: what the daemon rejects of them it counts under /api/ingest, "
    "and tells nobody\n"
)
NOW_SECONDS = 120  # between a log's end and the look at it, on a slow machine


def line(second: float, path: str = "/a", status: int = 200) -> str:
    moment = datetime.fromtimestamp(second, UTC)
    return f'10.0.0.1 - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET {path} HTTP/1.1" {status} 5\n'


def log(first: float, count: int, step: float = 1) -> str:
    return "".join(line(first + i * step, f"/{i}") for i in range(count))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_every_line_is_sent_once_in_order(command, listener, file: Path) -> None:
    start = int(time.time()) - 1000
    file.write_text(log(start, 120))
    outcome = command("import", "--to", listener.address, file)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "120 events sent, 0 lines could not be read\n" + NOT_TOLD
    events = listener.events()
    assert [event["path"] for event in events] == [f"/{i}" for i in range(120)]
    assert [event["timestamp"] for event in events] == [start + i for i in range(120)]


def test_messages_fit_a_datagram_and_have_many_events(command, udp_listener, file: Path) -> None:
    file.write_text("".join(line(time.time(), "/" + "x" * 8000) for _ in range(20)) + log(1e9, 200))
    assert command("import", "--to", udp_listener.address, file).code == 0
    messages = udp_listener.messages()
    assert sum(map(len, messages)) == 220
    assert len(messages) < 20


@pytest.mark.parametrize(
    "text",
    [
        line(1e9).replace("GET", "G" * 8000),
        line(1e9).replace("GET", "Ü" * 4000),
        line(1e9).replace("10.0.0.1", "x" * 8000),
        line(1e9).replace("/a", "\\" * 8000),
    ],
)
def test_message_stays_bounded_with_any_large_field(
    command, listener, file: Path, text: str
) -> None:
    file.write_text(text * 60)
    outcome = command("import", "--to", listener.address, file)
    assert (outcome.code, outcome.out.splitlines()[0]) == (
        0,
        "60 events sent, 0 lines could not be read",
    )
    messages = listener.raw()
    assert sum(len(msgpack.unpackb(message)) for message in messages) == 60
    assert max(map(len, messages)) <= MAX_GATHERED_BYTES + 3  # a list's head


def test_dash_reads_standard_input(command, listener, stdin) -> None:
    stdin(log(time.time(), 3).encode())
    assert command("import", "--to", listener.address, "-").code == 0
    assert len(listener.events()) == 3


def test_bytes_that_are_no_utf8_are_sent_unchanged(command, listener, file: Path) -> None:
    file.write_bytes(line(time.time(), "/X").encode().replace(b"X", b"\xff\xfe"))
    assert command("import", "--to", listener.address, file).code == 0
    (message,) = listener.raw()
    assert b"/\xff\xfe" in message


def test_unreadable_lines_are_counted_and_five_are_shown(command, listener, file: Path) -> None:
    garbage = [f"garbage {i} \x1b[31m" for i in range(8)]
    file.write_text(line(time.time()) + "\n" + "\n".join(garbage) + "\n" + line(time.time()))
    outcome = command("import", "--to", listener.address, file)
    assert outcome.code == 1
    assert outcome.out == "2 events sent, 8 lines could not be read\n" + NOT_TOLD
    shown = outcome.err.splitlines()
    assert len(shown) == 5
    assert shown[0].startswith("line 3 is not in the combined format: 'garbage 0")
    assert "\x1b" not in outcome.err
    assert len(listener.events()) == 2


def test_endless_line_counts_as_one_unreadable_line(command, listener, file: Path) -> None:
    long = line(time.time(), "/" + "x" * 500_000)
    file.write_text(line(time.time()) + long + line(time.time()) + "x" * 100_000)
    outcome = command("import", "--to", listener.address, file)
    assert outcome.out == "2 events sent, 2 lines could not be read\n" + NOT_TOLD
    assert outcome.err.splitlines() == [f"line {n} is longer than 16384 bytes" for n in (2, 4)]
    assert len(listener.events()) == 2


def test_crlf_lines_and_last_line_without_end_are_read(command, listener, file) -> None:
    file.write_bytes(log(time.time(), 2).replace("\n", "\r\n").rstrip().encode())
    assert command("import", "--to", listener.address, file).out.startswith("2 events")


def test_empty_log_sends_nothing(command, listener, file: Path) -> None:
    file.write_text("")
    for more in ([], ["--rebase"], ["--speed", "10"]):
        outcome = command("import", "--to", listener.address, *more, file)
        assert (outcome.code, outcome.err) == (0, "")
    assert listener.messages() == []


def test_log_older_than_retention_gives_a_hint(command, listener, file: Path) -> None:
    file.write_text(log(datetime(2015, 5, 17, tzinfo=UTC).timestamp(), 2))
    outcome = command("import", "--to", listener.address, file)
    assert outcome.code == 0
    assert "the log ends on 2015-05-17" in outcome.err
    assert "--rebase" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_rebase_shifts_the_log_to_end_now(command, listener, file: Path) -> None:
    # a log isn't sorted: a request is written when it ends
    file.write_text(line(1e9 + 50) + line(1e9) + line(1e9 + 100) + line(1e9 + 99))
    before = time.time()
    outcome = command("import", "--to", listener.address, "--rebase", file)
    times = [event["timestamp"] for event in listener.events()]
    assert outcome.err == ""
    assert before - 1 <= max(times) <= time.time() + 1
    assert [round(max(times) - t) for t in times] == [50, 100, 0, 1]


def test_rebase_reads_standard_input_twice(command, listener, stdin) -> None:
    stdin(log(1e9, 60).encode())
    assert command("import", "--to", listener.address, "--rebase", "-").code == 0
    times = [event["timestamp"] for event in listener.events()]
    assert abs(times[-1] - time.time()) < NOW_SECONDS
    assert round(times[-1] - times[0]) == 59


def test_rebase_reads_a_named_pipe_twice(command, listener, file: Path) -> None:
    os.mkfifo(file)
    writer = threading.Thread(target=file.write_text, args=(log(1e9, 60),))
    writer.start()
    outcome = command("import", "--to", listener.address, "--rebase", file)
    writer.join(30)
    assert outcome.out == "60 events sent, 0 lines could not be read\n" + NOT_TOLD
    assert abs(listener.events()[-1]["timestamp"] - time.time()) < NOW_SECONDS


def test_speed_sends_each_event_when_it_is_due(command, listener, file: Path, monkeypatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(time, "sleep", pauses.append)
    now = int(time.time())
    file.write_text(line(now) + line(now + 10) + line(now + 5) + line(now + 30))
    assert command("import", "--to", listener.address, "--speed", "10", file).code == 0
    assert pauses == pytest.approx([0, 1, 0.5, 3])
    assert [len(message) for message in listener.messages()] == [1, 1, 1, 1]


def test_unreadable_file_fails_with_the_reason(command, listener, tmp_path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a dir")):
        outcome = command("import", "--to", listener.address, path)
        assert outcome.code == 1
        assert outcome.err.startswith(f"aegisd: can't read {path}: {reason}")


def test_import_without_a_listener_fails(command, listener, file: Path) -> None:
    file.write_text(log(time.time(), 3))
    listener.close()
    outcome = command("import", "--to", listener.address, file)
    assert outcome.code == 1
    assert "start aegisd" in outcome.err


def test_progress_bar_is_removed_at_the_end(listener, file: Path) -> None:
    file.write_text(log(time.time() - 1000, 500))
    ours, theirs = pty.openpty()
    arguments = ["import", "--to", listener.address, str(file)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "aegisd", *arguments],
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=60,
            check=False,
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout.decode() == "500 events sent, 0 lines could not be read\n" + NOT_TOLD
    assert "[###" in shown or "[   " in shown
    assert shown.endswith("\r")


@pytest.mark.parametrize("place", [0, 10, 20])
def test_rebase_ignores_lines_dated_far_ahead(command, listener, file: Path, place: int) -> None:
    lines = log(1e9, 20).splitlines(keepends=True)
    lines.insert(place, line(4e9, "/stray"))
    file.write_text("".join(lines))
    outcome = command("import", "--to", listener.address, "--rebase", file)
    assert (outcome.code, outcome.err) == (
        1,
        f"line {place + 1} was rejected: out_of_range timestamp\n",
    )
    assert outcome.out == "21 events sent, 0 lines could not be read, 1 rejected\n" + NOT_TOLD
    times = [event["timestamp"] for event in listener.events() if event["path"] != "/stray"]
    assert abs(max(times) - time.time()) < NOW_SECONDS
    assert round(max(times) - min(times)) == 19


def test_line_dated_ahead_is_reported_as_rejected(command, listener, file: Path) -> None:
    file.write_text(line(time.time()) + line(time.time() + 1000) + line(time.time()))
    outcome = command("import", "--to", listener.address, file)
    assert (outcome.code, outcome.err) == (1, "line 2 was rejected: out_of_range timestamp\n")
    assert len(listener.events()) == 3


@pytest.mark.parametrize("place", [0, 3])
def test_speed_does_not_wait_for_lines_dated_far_ahead(
    command, listener, file: Path, monkeypatch, place: int
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(time, "sleep", pauses.append)
    lines = log(int(time.time()) - 10, 6).splitlines(keepends=True)
    lines.insert(place, line(4e9))
    file.write_text("".join(lines))
    command("import", "--to", listener.address, "--speed", "10", file)
    assert pauses == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert len(listener.events()) == 7


@pytest.mark.parametrize("more", [[], ["--rebase"]])
def test_read_error_within_the_log_fails_with_the_reason(command, listener, more) -> None:
    outcome = command("import", "--to", listener.address, *more, "/proc/self/mem")
    assert outcome.code == 1
    assert outcome.err == "aegisd: can't read line 1: Input/output error\n"


def test_sent_events_are_counted_when_the_daemon_goes_away(
    command, listener, file: Path, monkeypatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: listener.close() if seconds else None)
    now = int(time.time())
    file.write_text(line(now - 100) * 3 + line(now) + line(now))
    outcome = command("import", "--to", listener.address, "--speed", "1", file)
    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == "3 events sent, 0 lines could not be read"
    assert len(outcome.err.splitlines()) == 1
    assert "start aegisd" in outcome.err


@pytest.mark.skipif(not LOG.exists(), reason=f"{LOG.name} is not there")
def test_real_log_is_read_completely(command, listener) -> None:
    outcome = command("import", "--to", listener.address, "--rebase", LOG)
    assert outcome.out == "10000 events sent, 0 lines could not be read\n" + NOT_TOLD


@pytest.mark.skipif(not OUTLIER.exists(), reason=f"{OUTLIER.name} is not there")
def test_recorded_log_with_a_line_dated_far_ahead_is_rebased(command, listener) -> None:
    outcome = command("import", "--to", listener.address, "--rebase", OUTLIER)
    assert (outcome.code, outcome.err) == (1, "line 1 was rejected: out_of_range timestamp\n")
    stray, *others = [event["timestamp"] for event in listener.events()]
    assert len(others) == 21
    assert abs(max(others) - time.time()) < NOW_SECONDS < stray - time.time()
