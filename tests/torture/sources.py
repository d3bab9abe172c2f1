"""Sources that send over the stream, whatever happens to the daemon, until all is acknowledged."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from attrs import define, field
from streams import Stream

IN_FLIGHT = 8
RECONNECT_SECONDS = 0.05
PAUSE_SECONDS = 0.03  # after each answer, so that the daemon has time for its database too
GOOD = {"method": "GET", "status_code": 200, "duration_ms": 2.5, "route": "/"}
BAD = {"method": "GET", "path": "/bad", "status_code": 9999}
UNREADABLE = b"\xc1"


@define
class Message:
    """A message, and what its answer must say."""

    seq: int
    events: int
    rejected: int
    body: dict[str, Any]


@define(eq=False)
class Source:
    """One source with its thread. Its accepted events have the paths ``/name/0``, ``/name/1``, …"""

    name: str
    socket: Path
    random: Random
    written: int = 0  # events that are to be stored, each once
    acknowledged: int = 0
    malformed_share: float = 0.0  # of frames that are no message
    unreadable: int = 0  # such frames that were sent
    fault: str | None = None  # what was wrong with an answer
    _seq: int = 0
    _waiting: deque[Message] = field(factory=deque)
    _ending: threading.Event = field(factory=threading.Event)
    _giving_up: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        try:
            while not self._giving_up.is_set() and not self._is_done():
                try:
                    with contextlib.ExitStack() as streams:
                        self._talk(streams)
                except OSError:  # killed, or not there yet
                    self._giving_up.wait(RECONNECT_SECONDS)
        except AssertionError as error:
            self.fault = str(error)

    def end(self) -> None:
        """Write nothing new; done when all is acknowledged."""
        self._ending.set()

    def give_up(self) -> None:
        self._giving_up.set()

    def _is_done(self) -> bool:
        return self._ending.is_set() and not self._waiting

    def _talk(self, streams: contextlib.ExitStack) -> None:
        """Talk over a connection; ``streams`` keeps those that were left open meanwhile."""
        stream = streams.enter_context(Stream(self.socket))
        stream.send(*(message.body for message in self._waiting))
        while not self._is_done() and not self._giving_up.is_set():
            while len(self._waiting) < IN_FLIGHT and not self._ending.is_set():
                self._waiting.append(self._write())
                if self.random.random() < self.malformed_share:
                    stream = self._blunder(streams)
                else:
                    stream.send(self._waiting[-1].body)
            if not self._waiting:
                return
            answer = stream.receive()
            if answer is None:
                raise ConnectionResetError
            self._check(answer)
            self._giving_up.wait(PAUSE_SECONDS)

    def _blunder(self, streams: contextlib.ExitStack) -> Stream:
        """Send a malformed frame between the messages, and the messages over another connection.

        Both are new, so that the daemon reads both at once and may take their frames together.
        """
        broken, again = (streams.enter_context(Stream(self.socket)) for _ in range(2))
        messages = [message.body for message in self._waiting]
        behind = self.random.randrange(len(messages) + 1)
        broken.send(*messages[:behind], UNREADABLE, *messages[behind:])
        again.send(*messages)
        self.unreadable += 1
        return again

    def _check(self, answer: dict[str, Any]) -> None:
        message = self._waiting[0]
        assert answer.get("ack") == message.seq, f"{answer} to a message with seq {message.seq}"
        if not answer.get("duplicate"):
            assert answer["accepted"] == message.events - message.rejected, answer
            assert answer["rejectedCount"] == message.rejected, answer
        self._waiting.popleft()
        self.acknowledged += message.events - message.rejected

    def _write(self) -> Message:
        """A list, columns, an event alone or a heartbeat."""
        kind, seq = self.random.random(), self._seq
        envelope: dict[str, Any] = {"source": self.name, "seq": seq}
        rejected = 0
        if kind < 0.05:
            paths, body = [], envelope | {"events": []}
        elif kind < 0.2:
            paths = self._paths(1)
            body = envelope | GOOD | {"path": paths[0]}
        elif kind < 0.6:
            paths = self._paths(self.random.randint(1, 50))
            events = [GOOD | {"path": path} for path in paths]
            if self.random.random() < 0.2:
                rejected = 1
                events.insert(self.random.randrange(len(events)), BAD)
            body = envelope | {"events": events}
        else:
            paths = self._paths(self.random.randint(1, 300))
            durations = np.arange(len(paths), dtype="<f4").tobytes()
            columns = GOOD | {"path": paths, "duration_ms": durations}
            body = envelope | {"n": len(paths), "columns": columns}
        self._seq += len(paths) + rejected
        return Message(seq, len(paths) + rejected, rejected, body)

    def _paths(self, count: int) -> list[str]:
        first, self.written = self.written, self.written + count
        return [f"/{self.name}/{number}" for number in range(first, self.written)]


@define
class Sources:
    """Several of them."""

    each: list[Source]
    _threads: list[threading.Thread]

    def finish(self, seconds: float = 120) -> None:
        """Until all that was written is acknowledged."""
        for source in self.each:
            source.end()
        for source, thread in zip(self.each, self._threads, strict=True):
            thread.join(seconds)
            assert source.fault is None, source.fault
            assert not thread.is_alive(), f"{source.name} still waits for answers"

    @property
    def written(self) -> dict[str, int]:
        return {source.name: source.written for source in self.each}

    @property
    def acknowledged(self) -> int:
        return sum(source.acknowledged for source in self.each)

    @property
    def unreadable(self) -> int:
        return sum(source.unreadable for source in self.each)

    def check(self) -> None:
        for source in self.each:
            assert source.fault is None, source.fault


@contextlib.contextmanager
def sending(
    socket: Path, random: Random, count: int = 3, malformed_share: float = 0.0
) -> Iterator[Sources]:
    """Sources that send to a socket, as soon and as often as it is there."""
    each = [
        Source(f"s{i}", socket, Random(random.random()), malformed_share=malformed_share)
        for i in range(count)
    ]
    threads = [threading.Thread(target=source.run) for source in each]
    for thread in threads:
        thread.start()
    try:
        yield Sources(each, threads)
    finally:
        for source in each:
            source.give_up()
        for thread in threads:
            thread.join(90)
