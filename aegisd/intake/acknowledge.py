"""Takes the stream's messages in, and answers them when they are on the disk.

What all connections have sent is decoded as one burst, goes into the journal as one record, and is
synced together: so a disk that syncs a few thousand times a second acknowledges many more messages
than that. A source's mark moves in the record itself. A message before the mark was acknowledged
already, or was about to be when the connection broke: it is answered and not counted again.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import trio
from attrs import define, field, frozen

from aegisd.events.block import ABSENT, Block, Integers
from aegisd.events.flows import Flows
from aegisd.events.protocol import Reason
from aegisd.ingest import CREDENTIALS, Answers, Burst, Sender, StreamListener, error
from aegisd.intake.intake import Intake, Told
from aegisd.store.journal import JournalUnavailable, Marks, Source, pack_block
from aegisd.store.storage import Storage
from aegisd.wire import Decoded, most_rows

MAX_GROUP_EVENTS = 65_536
"""Messages that are taken together hold no more events, whatever they are, or are one connection's
frames. They become one record of the journal, written at once."""

MAX_LISTED_REJECTS = 100
"""Of a message, in its answer; the others are only counted."""

UNAVAILABLE = error("journal_unavailable", "the journal can't be written; send again later")


@define(eq=False)
class _Waiting:
    """A connection's frames, and what becomes of them."""

    listener: StreamListener
    sender: Sender
    frames: Sequence[bytes]
    answers: Answers = field(factory=lambda: Answers([]))
    done: trio.Event = field(factory=trio.Event)


@frozen
class Place:
    """Where a message of a burst came from: its connection's number, and who sends there."""

    connection: int
    uid: int


@define
class Verdict:
    """What becomes of a burst's messages, by their numbers."""

    moved: dict[Source, int] = field(factory=dict)
    duplicates: dict[int, int] = field(factory=dict)  # and their seq
    straddling: dict[int, int] = field(factory=dict)  # and their seq
    behind: set[int] = field(factory=set)  # a fault of their connection
    straddling_events: int = 0

    @property
    def left_out(self) -> set[int]:
        """The messages that are not taken."""
        return {*self.duplicates, *self.straddling, *self.behind}


def judge(
    places: Sequence[Place], unreadable: Collection[int], flows: Flows, marks: Marks
) -> Verdict:
    """Compare messages, in their order, with how far their sources have come.

    A message that can't be read, or that straddles its mark, ends its connection: what stands
    behind it there is not taken, and moves no mark that another message is compared with.
    """
    verdict = Verdict()
    rows = dict(zip(flows.messages.tolist(), range(len(flows.messages)), strict=True))
    closed = set()
    for message, place in enumerate(places):
        if place.connection in closed:
            verdict.behind.add(message)
        elif message in unreadable:
            closed.add(place.connection)
        elif (row := rows.get(message)) is not None and flows.seqs[row] != ABSENT:
            name = flows.sources.values[int(flows.sources.index[row])] or ""
            source, seq, count = (place.uid, name), int(flows.seqs[row]), int(flows.counts[row])
            mark = verdict.moved.get(source, marks.get(source))
            if mark is None or seq >= mark:
                verdict.moved[source] = seq + count
            elif seq + count <= mark:
                verdict.duplicates[message] = seq
            else:
                verdict.straddling[message] = seq
                verdict.straddling_events += count
                closed.add(place.connection)
    return verdict


class Acknowledger:
    """Takes frames from all connections. ``run`` is its task."""

    def __init__(self, intake: Intake, storage: Storage) -> None:
        self._intake = intake
        self._storage = storage
        self._waiting: deque[_Waiting] = deque()
        self._more = trio.Event()
        # groups with answers, and the records of the journal that must be on the disk before
        self._written: deque[tuple[int, list[_Waiting]]] = deque()
        self._some_written = trio.Event()

    async def take(
        self, listener: StreamListener, sender: Sender, frames: Sequence[bytes]
    ) -> Answers:
        """Take a connection's frames, and wait until they may be answered."""
        waiting = _Waiting(listener, sender, frames)
        self._waiting.append(waiting)
        self._more.set()
        await waiting.done.wait()
        return waiting.answers

    async def run(self) -> None:
        """Take what waits and answer it, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_all)
            nursery.start_soon(self._answer_all)

    async def _answer_all(self) -> None:
        """Let answers go when what they tell is on the disk."""
        while True:
            await self._some_written.wait()
            self._some_written = trio.Event()
            while self._written:
                try:
                    await self._storage.sync.reached(self._written[0][0])
                except JournalUnavailable:
                    self._refuse(self._written.popleft()[1])
                while self._written and self._written[0][0] <= self._storage.journal.records_synced:
                    _answer(self._written.popleft()[1])

    def _refuse(self, group: list[_Waiting]) -> None:
        for waiting in group:
            waiting.answers = Answers([UNAVAILABLE], close=True)
        _answer(group)

    async def _take_all(self) -> None:
        """Take what waits, as one burst."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._waiting:
                await trio.lowlevel.checkpoint()  # those who are about to, come along
                await self._process(self._group())

    def _group(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        most = _most_events(group[0])
        while self._waiting and (most := most + _most_events(self._waiting[0])) <= MAX_GROUP_EVENTS:
            group.append(self._waiting.popleft())
        return group

    async def _process(self, group: list[_Waiting]) -> None:
        taken = _Taken(group)
        parts = await self._decoded(taken.burst)
        flows = Flows.concatenate([part.flows for part in parts])
        unreadable = {message for part in parts for message in part.unreadable}
        verdict = judge(taken.places, unreadable, flows, self._storage.marks)
        if taken.leave_out(verdict, unreadable):
            parts = await self._decoded(taken.burst)
            flows = Flows.concatenate([part.flows for part in parts])
        kept: list[Block] = []
        packed: list[bytes] = []
        for part in parts:
            blocks = self._intake.enabled(part)
            kept += blocks
            packed += map(pack_block, blocks)
            await trio.lowlevel.checkpoint()
        try:
            record = self._storage.append_durably(kept, packed, verdict.moved)
        except JournalUnavailable:
            self._refuse(group)
            return
        taken.acknowledge(flows, _rejected(parts))
        told = [waiting for waiting in group if waiting.answers.payloads]
        _answer([waiting for waiting in group if not waiting.answers.payloads])
        if told:
            self._written.append((record, told))
            self._some_written.set()
        self._intake.refuse(Reason.BAD_SEQ, verdict.straddling_events)
        known: Told = {}
        for part in parts:
            self._intake.account(group[0].listener, taken.burst, part, known)
            await trio.lowlevel.checkpoint()

    async def _decoded(self, burst: Burst) -> list[Decoded]:
        """The parts of a burst."""
        parts = []
        for part in self._intake.decode(burst.messages):
            parts.append(part)
            await trio.lowlevel.checkpoint()
        return parts


def _answer(group: list[_Waiting]) -> None:
    for waiting in group:
        waiting.done.set()


def _most_events(waiting: _Waiting) -> int:
    return sum(most_rows(len(frame)) for frame in waiting.frames)


class _Taken:
    """The frames of a group as one burst, but those that are left out; and their answers."""

    def __init__(self, group: list[_Waiting]) -> None:
        self._rows = [(waiting, frame) for waiting in group for frame in waiting.frames]
        self._kept = list(range(len(self._rows)))
        self._answers: dict[int, object] = {}
        self._closed: set[int] = set()  # connections that end with their answers
        self.burst = self._burst()

    @property
    def places(self) -> list[Place]:
        """Where each message came from."""
        return [Place(id(waiting), waiting.sender.uid) for waiting, _ in self._rows]

    def _burst(self) -> Burst:
        kept = [self._rows[row] for row in self._kept]
        senders = [CREDENTIALS.pack(row.sender.pid, row.sender.uid) for row, _ in kept]
        return Burst([frame for _, frame in kept], b"".join(senders))

    def leave_out(self, verdict: Verdict, unreadable: Collection[int]) -> bool:
        """Leave out what was there before, and what follows a fault; whether anything was."""
        for row, seq in verdict.duplicates.items():
            self._answers[row] = _acknowledgement(seq, 0, _Rejected()) | {"duplicate": True}
        for row, seq in verdict.straddling.items():
            why = f"events from {seq} on: a part of them was acknowledged before"
            self._close(row, error(Reason.BAD_SEQ.value, why))
        for row in set(unreadable) - verdict.behind:
            self._close(row, error(Reason.MALFORMED.value, "a frame that is no message"))
        out = verdict.left_out
        if out:
            self._kept = [row for row in self._kept if row not in out]
            self.burst = self._burst()
        return bool(out)

    def _close(self, row: int, answer: object) -> None:
        self._closed.add(id(self._rows[row][0]))
        self._answers[row] = answer

    def acknowledge(self, flows: Flows, rejected: "dict[int, _Rejected]") -> None:
        """Answer the messages that were taken and have a seq, and hand out all answers."""
        for i in (flows.seqs != ABSENT).nonzero()[0].tolist():
            message, seq = int(flows.messages[i]), int(flows.seqs[i])
            rejects = rejected.get(message, _Rejected())
            accepted = max(0, int(flows.counts[i]) - rejects.count)
            answer = _acknowledgement(seq, accepted, rejects)
            self._answers.setdefault(self._kept[message], answer)
        payloads: dict[int, list[object]] = {}
        for row in sorted(self._answers):
            payloads.setdefault(id(self._rows[row][0]), []).append(self._answers[row])
        for waiting, _ in self._rows:
            connection = id(waiting)
            waiting.answers = Answers(payloads.get(connection, []), connection in self._closed)


@define
class _Rejected:
    """The rejects of a message: how many, and the first of them by their numbers in it."""

    count: int = 0
    listed: list[tuple[int, str, str]] = field(factory=list)


def _acknowledgement(seq: int, accepted: int, rejects: _Rejected) -> dict[str, object]:
    return {
        "ack": seq,
        "accepted": accepted,
        "rejectedCount": rejects.count,
        "rejected": sorted(rejects.listed)[:MAX_LISTED_REJECTS],
    }


def _rejected(parts: list[Decoded]) -> dict[int, _Rejected]:
    """The rejects of each message; those that will not be listed are counted in one go."""
    found: dict[int, _Rejected] = {}
    for part in parts:
        # a message's events come in order: what is behind the first ones is not listed
        full = {m for m, told in found.items() if len(told.listed) >= MAX_LISTED_REJECTS}
        for reject in part.rejects:
            for start, stop in _runs(reject.messages):
                message = int(reject.messages[start])
                told = found.setdefault(message, _Rejected())
                told.count += stop - start
                if message not in full:
                    first = reject.indexes[start : min(stop, start + MAX_LISTED_REJECTS)]
                    told.listed += [
                        (index, reject.reason.value, reject.field) for index in first.tolist()
                    ]
    return found


def _runs(messages: Integers) -> Iterator[tuple[int, int]]:
    """Where each message's rejects begin and end; they stand together."""
    if messages[0] == messages[-1]:  # mostly
        yield 0, len(messages)
        return
    ends = [*((messages[1:] != messages[:-1]).nonzero()[0] + 1).tolist(), len(messages)]
    yield from pairwise([0, *ends])
