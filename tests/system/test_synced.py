"""By the trace of system calls: an acknowledgement is sent after its record is synced."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from attrs import define
from streams import LENGTH, Stream
from support import Daemon, wait_until

MESSAGES = 300
CALLS = "writev,fdatasync,write"
GOOD = {"method": "GET", "path": "/", "status_code": 200}
ACK = msgpack.packb("ack")
NOWHERE = "postgresql://aegisd@127.0.0.1:1/aegisd"

BEGUN = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\(\d+<(?P<file>[^>]*)>(?P<rest>.*)$")
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


def untraceable() -> str | None:
    """Why no process can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace: {tried.stderr.strip()}"


@define
class Call:
    """A system call: the lines of the trace in which it began and ended."""

    name: str
    file: str
    begun: int
    data: bytes
    ended: int = -1
    succeeded: bool = False


def calls(trace: str) -> Iterator[Call]:
    """The calls of a trace, in the order in which they began."""
    found: list[Call] = []
    running: dict[str, Call] = {}
    for number, line in enumerate(trace.splitlines()):
        if begun := BEGUN.match(line):
            file = bytes.fromhex(begun["file"].replace("\\x", "")).decode()
            call = Call(begun["call"], file, number, texts(line))
            found.append(call)
            running[begun["pid"]] = call
            rest = begun["rest"]
        elif resumed := RESUMED.match(line):
            call, rest = running[resumed["pid"]], resumed["rest"]
            call.data += texts(line)
        else:
            continue
        if result := re.search(r" = (-?\d+)", rest):
            call.ended, call.succeeded = number, int(result[1]) >= 0
    yield from found


def texts(line: str) -> bytes:
    parts = TEXT.findall(line)
    assert not any(cut for _, cut in parts), "strace has left something out"
    return b"".join(bytes.fromhex(text.replace("\\x", "")) for text, _ in parts)


def answers(data: bytes) -> list[dict[str, Any]]:
    found = []
    while data:
        (length,) = LENGTH.unpack_from(data)
        found.append(msgpack.unpackb(data[LENGTH.size : LENGTH.size + length]))
        data = data[LENGTH.size + length :]
    return found


def source(seq: int) -> str:
    return f"source-{seq:06}"


def message(seq: int) -> dict[str, Any]:
    """Each from a source of its own; with an event, with one that is rejected, or with none."""
    events = [[GOOD], [GOOD | {"status_code": 1000}], []][seq % 3]
    return {"source": source(seq), "seq": seq, "events": events}


@pytest.mark.skipif(untraceable() is not None, reason=f"nothing can be traced: {untraceable()}")
def test_acknowledgement_is_sent_after_its_record_is_synced(
    make_daemon: Callable[..., Daemon], directory: Path
) -> None:
    file = directory / "trace"
    daemon = make_daemon(environment={"AEGISD_STORAGE__DSN": NOWHERE})
    options = ["-D", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(file)]
    daemon.start("strace", *options)
    with Stream(daemon.runtime / "stream.sock") as stream:
        for first in range(0, MESSAGES, 10):  # some wait while the disk is busy with others
            stream.send(*map(message, range(first, first + 10)))
            if first:
                for _ in range(10):
                    stream.receive()
        for _ in range(10):
            stream.receive()
    daemon.stop()
    wait_until(lambda: "+++ exited with 0 +++" in file.read_text()[-200:], "the trace is whole")

    trace = list(calls(file.read_text()))
    writes = [call for call in trace if call.name == "writev" and call.file.endswith(".segment")]
    syncs = [call for call in trace if call.name == "fdatasync" and call.succeeded]
    sends = [call for call in trace if call.name == "write" and ACK in call.data]
    acknowledged = [(send, answer["ack"]) for send in sends for answer in answers(send.data)]
    assert sorted(seq for _, seq in acknowledged) == list(range(MESSAGES))
    for send, seq in acknowledged:
        (write,) = [write for write in writes if source(seq).encode() in write.data]
        assert any(
            sync.file == write.file and write.ended < sync.begun and sync.ended < send.begun
            for sync in syncs
        ), f"message {seq} was acknowledged before it was synced"
