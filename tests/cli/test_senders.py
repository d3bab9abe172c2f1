"""``aegisd send`` over the stream: acknowledgements, rejects, and malformed answers."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest

REQUEST = ("method=GET", "path=/a", "status_code=200")
ACCEPTED = {"ack": 0, "accepted": 1, "rejectedCount": 0, "rejected": []}
WAIT_SECONDS = 30


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@pytest.fixture
def answering(directory: Path) -> Iterator[Callable[[bytes], str]]:
    """Listens, and answers the first message with bytes; gives the address."""
    path = directory / "stream.sock"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()
    listening.settimeout(WAIT_SECONDS)
    threads = []

    def answer(data: bytes) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(WAIT_SECONDS)
            connection.recv(65_536)
            with suppress(BrokenPipeError):  # the client may be gone already
                for at in range(len(data)):  # an answer may arrive byte by byte
                    connection.send(data[at : at + 1])

    def start(data: bytes) -> str:
        threads.append(threading.Thread(target=answer, args=(data,)))
        threads[-1].start()
        return f"stream:{path}"

    yield start
    for thread in threads:
        thread.join(WAIT_SECONDS)
    listening.close()


def test_acknowledged_event_prints_nothing(command, answering) -> None:
    address = answering(frame(msgpack.packb(ACCEPTED)))
    outcome = command("send", "--to", address, *REQUEST)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_listed_reject_is_printed(command, answering) -> None:
    rejected = {"accepted": 0, "rejectedCount": 1, "rejected": [[0, "out_of_range", "timestamp"]]}
    address = answering(frame(msgpack.packb(ACCEPTED | rejected)))
    outcome = command("send", "--to", address, *REQUEST)
    assert (outcome.code, outcome.err) == (
        1,
        "aegisd: the event was rejected: out_of_range timestamp\n",
    )


def test_reject_that_is_only_counted_is_printed(command, answering) -> None:
    address = answering(frame(msgpack.packb(ACCEPTED | {"accepted": 0, "rejectedCount": 1})))
    outcome = command("send", "--to", address, *REQUEST)
    assert (outcome.code, outcome.err) == (1, "aegisd: the event was rejected\n")


@pytest.mark.parametrize(
    "data",
    [
        frame(b""),
        frame(b"\xc1"),
        frame(msgpack.packb(5)),
        frame(msgpack.packb([1])),
        frame(msgpack.packb({})),
        frame(msgpack.packb({"error": "no"})),
        frame(msgpack.packb({"error": {"code": "x"}})),
        frame(msgpack.packb(ACCEPTED | {"rejectedCount": "many"})),
        frame(msgpack.packb(ACCEPTED | {"rejectedCount": 2})),
        frame(msgpack.packb(ACCEPTED | {"rejectedCount": -1})),
        frame(msgpack.packb(ACCEPTED | {"rejectedCount": 1, "rejected": [[1, "a", "b"]]})),
        frame(msgpack.packb(ACCEPTED | {"rejectedCount": 1, "rejected": [[-1, "a", "b"]]})),
        frame(msgpack.packb(ACCEPTED | {"rejectedCount": 1, "rejected": [5]})),
        struct.pack(">I", 2**32 - 1),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_malformed_answer_fails_in_one_line(command, answering, data: bytes) -> None:
    address = answering(data)
    outcome = command("send", "--to", address, *REQUEST)
    assert outcome.code == 1
    assert outcome.err.startswith(f"aegisd: can't send to {address}: it doesn't answer as aegisd")
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("data", [b"", b"\0\0", struct.pack(">I", 5) + b"abc"])
def test_answer_that_ends_early_fails_in_one_line(command, answering, data: bytes) -> None:
    address = answering(data)
    outcome = command("send", "--to", address, *REQUEST)
    assert (outcome.code, len(outcome.err.splitlines())) == (1, 1)
    assert "the daemon closed the connection" in outcome.err


@pytest.mark.parametrize("hostile", ["\x1b[31m", "\x9b31m", "\u202e", "\u2066", "\r", "\x85"])
def test_unprintable_text_of_the_daemon_is_replaced(command, answering, hostile: str) -> None:
    error = {"error": {"code": "busy", "message": f"no{hostile}room"}}
    outcome = command("send", "--to", answering(frame(msgpack.packb(error))), *REQUEST)
    assert outcome.code == 1
    assert "no\ufffd" in outcome.err
    assert outcome.err.removesuffix("\n").isprintable()
