"""The acknowledged stream of a running daemon: what is answered, counted and stored."""

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from streams import LENGTH, Stream, frame
from support import Daemon, wait_until

GOOD = {"method": "GET", "path": "/", "status_code": 200}
BAD = GOOD | {"status_code": 1000}
NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"


@pytest.fixture
def streaming(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A running daemon without a database: the stream needs none."""
    daemon = make_daemon(environment={"AEGISD_STORAGE__DSN": NOWHERE})
    daemon.start()
    return daemon


def path(daemon: Daemon) -> Path:
    return daemon.runtime / "stream.sock"


def message(source: str, seq: int, *events: dict[str, Any]) -> dict[str, Any]:
    return {"v": 1, "source": source, "seq": seq, "events": list(events)}


def accepted_events(daemon: Daemon) -> int:
    return sum(daemon.get("/api/ingest")["events"].values())


def acknowledgement(seq: int, accepted: int) -> dict[str, Any]:
    return {"ack": seq, "accepted": accepted, "rejectedCount": 0, "rejected": []}


def test_each_form_of_message_is_answered_with_accepted_and_rejected(streaming: Daemon) -> None:
    statuses = np.array([200, 1000, 404], "<u2").tobytes()
    columns = {"method": "GET", "path": ["/a", "/b", "/c"], "status_code": statuses}
    with Stream(path(streaming)) as stream:
        assert stream.ask(GOOD | {"source": "s", "seq": 0}) == acknowledgement(0, 1)
        assert stream.ask(message("s", 1, GOOD, GOOD)) == acknowledgement(1, 2)
        assert stream.ask({"source": "s", "seq": 3, "n": 3, "columns": columns}) == {
            "ack": 3,
            "accepted": 2,
            "rejectedCount": 1,
            "rejected": [[1, "out_of_range", "status_code"]],
        }
        assert stream.ask(message("s", 6)) == acknowledgement(6, 0), "a heartbeat"
        assert stream.ask(message("s", 6, *[BAD] * 2)) == {
            "ack": 6,
            "accepted": 0,
            "rejectedCount": 2,
            "rejected": [[i, "out_of_range", "status_code"] for i in range(2)],
        }
    assert accepted_events(streaming) == 5
    (source,) = streaming.get("/api/ingest")["sources"]
    assert (source["received"], source["lost"]) == (8, 0)


def test_all_rejects_are_counted_and_the_first_hundred_listed(streaming: Daemon) -> None:
    with Stream(path(streaming)) as stream:
        answer = stream.ask(message("s", 0, GOOD, *[BAD] * 150, {"method": "GET"}))
    assert answer is not None
    assert (answer["accepted"], answer["rejectedCount"]) == (1, 151)
    assert [index for index, _, _ in answer["rejected"]] == list(range(1, 101))


def test_message_sent_again_is_a_duplicate_and_not_counted(streaming: Daemon) -> None:
    again = acknowledgement(0, 0) | {"duplicate": True}
    with Stream(path(streaming)) as stream:
        assert stream.ask(message("s", 0, GOOD, GOOD)) == acknowledgement(0, 2)
        assert stream.ask(message("s", 0, GOOD, GOOD)) == again
        assert stream.ask(message("s", 0, GOOD)) == again, "wholly before the mark"
        stream.send(message("s", 2, GOOD), message("s", 2, GOOD), message("t", 0, GOOD))
        assert stream.receive() == acknowledgement(2, 1)
        assert stream.receive() == acknowledgement(2, 0) | {"duplicate": True}
        assert stream.receive() == acknowledgement(0, 1), "sources have marks of their own"
        assert stream.ask(message("s", 100, GOOD)) == acknowledgement(100, 1), "some were lost"
        assert stream.ask(message("s", 50, GOOD))["duplicate"]
    assert accepted_events(streaming) == 5


def test_message_that_straddles_the_mark_ends_the_connection(streaming: Daemon) -> None:
    with Stream(path(streaming)) as stream:
        assert stream.ask(message("s", 0, GOOD, GOOD)) == acknowledgement(0, 2)
        stream.send(message("s", 2, GOOD), message("s", 1, GOOD, GOOD, GOOD), message("s", 4, GOOD))
        assert stream.receive() == acknowledgement(2, 1), "those before it are taken"
        answer = stream.receive()
        assert answer is not None
        assert answer["error"]["code"] == "bad_seq"
        assert stream.receive() is None
    assert accepted_events(streaming) == 3, "neither it nor what follows"
    assert streaming.get("/api/ingest")["rejected"]["bad_seq"] > 0
    with Stream(path(streaming)) as stream:
        assert stream.ask(message("s", 3, GOOD)) == acknowledgement(3, 1)


def test_message_without_seq_is_taken_and_gets_no_answer(streaming: Daemon) -> None:
    with Stream(path(streaming)) as stream:
        stream.send(GOOD, [GOOD, BAD], {"source": "s", "events": [GOOD]}, message("s", 0, GOOD))
        assert stream.receive() == acknowledgement(0, 1)
        stream.send(GOOD)
    wait_until(lambda: accepted_events(streaming) == 5, "the last one is taken too")
    assert streaming.get("/api/ingest")["rejected"]["out_of_range"] == 1


@pytest.mark.parametrize("unreadable", [b"", b"\xc1", b"\x81", msgpack.packb({"a": 1}) + b"\0"])
def test_unreadable_frame_ends_the_connection(streaming: Daemon, unreadable: bytes) -> None:
    with Stream(path(streaming)) as stream:
        stream.send(message("s", 0, GOOD), unreadable, message("s", 1, GOOD))
        assert stream.receive() == acknowledgement(0, 1)
        answer = stream.receive()
        assert answer is not None
        assert answer["error"]["code"] == "malformed"
        assert answer["error"]["message"]
        assert stream.receive() is None
    ingest = streaming.get("/api/ingest")
    assert (ingest["events"]["request"], ingest["rejected"]["malformed"]) == (1, 1)


def test_frame_that_declares_4_gib_ends_the_connection(streaming: Daemon) -> None:
    with Stream(path(streaming)) as stream:
        stream.socket.sendall(frame(message("s", 0, GOOD)) + LENGTH.pack(2**32 - 1))
        assert stream.receive() == acknowledgement(0, 1)
        answer = stream.receive()
        assert answer is not None
        assert answer["error"]["code"] == "oversize"
        assert stream.receive() is None
    assert accepted_events(streaming) == 1


def test_frames_sent_byte_by_byte_are_answered(streaming: Daemon) -> None:
    data = b"".join(frame(message("s", seq, GOOD)) for seq in range(3))
    with Stream(path(streaming)) as stream:
        for byte in data:
            stream.socket.sendall(bytes([byte]))
        for seq in range(3):
            assert stream.receive() == acknowledgement(seq, 1)


def test_frames_sent_before_the_first_answer_is_read_are_all_answered(
    streaming: Daemon,
) -> None:
    with Stream(path(streaming)) as stream:
        stream.send(*(message("s", seq, GOOD) for seq in range(800)))
        for seq in range(800):
            assert stream.receive() == acknowledgement(seq, 1)
    assert accepted_events(streaming) == 800


def test_message_of_the_largest_size_is_taken(streaming: Daemon) -> None:
    events = [GOOD | {"path": "/" + "x" * 2000}] * 500
    assert 1_000_000 < len(msgpack.packb(message("s", 0, *events))) < 1_048_576
    with Stream(path(streaming)) as stream:
        assert stream.ask(message("s", 0, *events)) == acknowledgement(0, 500)


def test_each_of_300_connections_gets_its_own_answers(streaming: Daemon) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(path(streaming))) for _ in range(300)]
        for turn in range(3):
            for number, stream in enumerate(streams):
                events = [GOOD] * (number % 7)
                stream.send(message(f"s{number}", turn * (number % 7), *events))
            for number, stream in enumerate(streams):
                assert stream.receive() == acknowledgement(turn * (number % 7), number % 7)


def fill(stream: Stream) -> None:
    """Send until the socket is full in both directions: nobody reads the answers."""
    stream.socket.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            stream.socket.send(frame(GOOD | {"source": "deaf", "seq": 0}))


def test_stuck_and_broken_connections_leave_others_answered(streaming: Daemon) -> None:
    with ExitStack() as stack:
        stuck = [stack.enter_context(Stream(path(streaming))) for _ in range(20)]
        for stream in stuck[:10]:
            stream.socket.sendall(frame(message("half", 0, GOOD))[:-1])
        for stream in stuck[10:]:
            fill(stream)
        with Stream(path(streaming)) as gone:
            gone.send(message("gone", 0, GOOD))
        with Stream(path(streaming)) as rude:
            rude.send(b"\xc1")
            rude.socket.shutdown(socket.SHUT_WR)
        with Stream(path(streaming)) as stream:
            for seq in range(20):
                assert stream.ask(message("s", seq, GOOD)) == acknowledgement(seq, 1)
        streaming.emit(GOOD)
        assert streaming.fetch("/healthz")[0] == 200
        for stream in stuck[:10]:  # they only had to go on
            stream.socket.sendall(frame(message("half", 0, GOOD))[-1:])
            assert stream.receive()["ack"] == 0


def test_half_closed_connection_gets_the_answers_of_its_frames(streaming: Daemon) -> None:
    with Stream(path(streaming)) as stream:
        stream.send(message("s", 0, GOOD), message("s", 1, GOOD))
        stream.socket.shutdown(socket.SHUT_WR)
        assert stream.receive() == acknowledgement(0, 1)
        assert stream.receive() == acknowledgement(1, 1)
        assert stream.receive() is None


def test_source_continues_over_another_connection(streaming: Daemon) -> None:
    for seq in range(5):
        with Stream(path(streaming)) as stream:
            assert stream.ask(message("s", seq, GOOD)) == acknowledgement(seq, 1)
            if seq:
                assert stream.ask(message("s", seq - 1, GOOD))["duplicate"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_marks_survive_a_restart_and_a_kill(streaming: Daemon, number: signal.Signals) -> None:
    with Stream(path(streaming)) as stream:
        stream.send(*(message(f"s{i}", 0, GOOD, GOOD) for i in range(20)))
        for _ in range(20):
            assert stream.receive() == acknowledgement(0, 2)
        stream.ask(message("s0", 2, GOOD))
    for _ in range(2):  # a start writes them anew
        streaming.stop(number)
        streaming.start()
        with Stream(path(streaming)) as stream:
            for i in range(20):
                assert stream.ask(message(f"s{i}", 0, GOOD, GOOD))["duplicate"]
            assert stream.ask(message("s0", 2, GOOD))["duplicate"]
    with Stream(path(streaming)) as stream:
        answer = stream.ask(message("s1", 1, GOOD, GOOD))
        assert answer is not None
        assert answer["error"]["code"] == "bad_seq"
    assert accepted_events(streaming) == 0


def test_acknowledged_event_is_stored_once(
    make_storing: Callable[..., Daemon], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    daemon = make_storing()
    daemon.start()
    with Stream(path(daemon)) as stream:
        for seq in range(0, 1000, 10):
            events = [GOOD | {"path": f"/{seq + i}"} for i in range(10)]
            stream.send(message("s", seq, *events), message("s", seq, *events))
            assert stream.receive() == acknowledgement(seq, 10)
            assert stream.receive() == acknowledgement(seq, 0) | {"duplicate": True}
    daemon.wait_for_rows(1000)
    assert rows("SELECT count(*), count(DISTINCT path) FROM request_metrics") == [(1000, 1000)]


def test_frame_unanswered_at_the_stop_is_a_duplicate_or_new_after_it(streaming: Daemon) -> None:
    with Stream(path(streaming)) as stream:
        stream.send(*(message("s", seq, GOOD) for seq in range(500)))
        assert stream.receive() == acknowledgement(0, 1)
        streaming.stop()
        answered = 1
        with suppress(ConnectionResetError, AssertionError):  # half an answer counts for none
            while stream.receive() is not None:
                answered += 1
    streaming.start()
    with Stream(path(streaming)) as stream:
        for seq in range(500):
            answer = stream.ask(message("s", seq, GOOD))
            assert answer is not None
            assert answer["ack"] == seq
            assert answer.get("duplicate", False) or seq >= answered
