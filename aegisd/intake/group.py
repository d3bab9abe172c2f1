"""A group: the frames that several connections sent, decoded as one burst; and their answers. Pure.

A message has a number in the group and a number in the burst. The two differ once messages that
the verdict leaves out are removed from the burst.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from attrs import define, field, frozen

from aegisd.events.block import ABSENT, Integers
from aegisd.events.flows import Flows
from aegisd.events.protocol import Reason
from aegisd.ingest import CREDENTIALS, Answers, Burst, Peer, error_answer
from aegisd.intake.judging import Origin, Verdict
from aegisd.wire import Decoded

MAX_LISTED_REJECTS = 100
"""Of one message, in its answer; the others are only counted."""


@frozen
class Frames:
    """What one connection sent."""

    peer: Peer
    frames: Sequence[bytes]


class FrameGroup:
    """The frames of some connections. A connection's number is its place in ``members``."""

    def __init__(self, members: Sequence[Frames]) -> None:
        self._size = len(members)
        self._messages = [
            (connection, member.peer, frame)
            for connection, member in enumerate(members)
            for frame in member.frames
        ]
        # the messages that are in the burst, by number in the group
        self._kept = list(range(len(self._messages)))
        self._answers: dict[int, object] = {}  # by number in the group
        self._ended: set[int] = set()  # connections
        self.burst = self._make_burst()

    @property
    def origins(self) -> list[Origin]:
        """Where each message came from."""
        return [Origin(connection, peer.uid) for connection, peer, _ in self._messages]

    def _make_burst(self) -> Burst:
        kept = [self._messages[number] for number in self._kept]
        credentials = [CREDENTIALS.pack(peer.pid, peer.uid) for _, peer, _ in kept]
        return Burst([frame for _, _, frame in kept], b"".join(credentials))

    def apply(self, verdict: Verdict, unreadable: Collection[int]) -> bool:
        """Answer duplicates, end connections, remove from the burst what the verdict leaves out.

        Called once, while the burst has all messages. Returns whether the burst has changed.
        """
        for number, seq in verdict.duplicates.items():
            self._answers[number] = _acknowledgement(seq, 0, MessageRejects()) | {"duplicate": True}
        for number, seq in verdict.straddling.items():
            why = f"events from {seq} on: a part of them was acknowledged before"
            self._end_connection(number, error_answer(Reason.BAD_SEQ.value, why))
        for number in set(unreadable) - verdict.behind:
            self._end_connection(
                number, error_answer(Reason.MALFORMED.value, "a frame that is no message")
            )
        left_out = verdict.left_out
        if left_out:
            self._kept = [number for number in self._kept if number not in left_out]
            self.burst = self._make_burst()
        return bool(left_out)

    def _end_connection(self, number: int, answer: object) -> None:
        self._ended.add(self._messages[number][0])
        self._answers[number] = answer

    def answers(self, flows: Flows, parts: Sequence[Decoded]) -> list[Answers]:
        """What each connection gets, in the order of its messages; ``parts`` are the burst's."""
        rejects = rejects_by_message(parts)
        for row in (flows.seqs != ABSENT).nonzero()[0].tolist():
            message, seq = int(flows.message_numbers[row]), int(flows.seqs[row])
            of_message = rejects.get(message, MessageRejects())
            accepted = max(0, int(flows.counts[row]) - of_message.count)
            answer = _acknowledgement(seq, accepted, of_message)
            self._answers.setdefault(self._kept[message], answer)
        payloads: list[list[object]] = [[] for _ in range(self._size)]
        for number in sorted(self._answers):
            payloads[self._messages[number][0]].append(self._answers[number])
        return [
            Answers(of_connection, connection in self._ended)
            for connection, of_connection in enumerate(payloads)
        ]


@define
class MessageRejects:
    """How many events of a message were rejected, and the first of them: index, reason, field."""

    count: int = 0
    listed: list[tuple[int, str, str]] = field(factory=list)


def _acknowledgement(seq: int, accepted: int, rejects: MessageRejects) -> dict[str, object]:
    return {
        "ack": seq,
        "accepted": accepted,
        "rejectedCount": rejects.count,
        "rejected": sorted(rejects.listed)[:MAX_LISTED_REJECTS],
    }


def rejects_by_message(parts: Sequence[Decoded]) -> dict[int, MessageRejects]:
    """The rejects of each message of a burst.

    A flood of rejects costs little: those that won't be listed are counted a run at a time.
    """
    found: dict[int, MessageRejects] = {}
    for part in parts:
        # a message's events come in order, so rejects of later parts come after those listed
        full = {m for m, rejects in found.items() if len(rejects.listed) >= MAX_LISTED_REJECTS}
        for reject in part.rejects:
            for start, stop in _runs(reject.message_numbers):
                message = int(reject.message_numbers[start])
                rejects = found.setdefault(message, MessageRejects())
                rejects.count += stop - start
                if message not in full:
                    first = reject.indexes[start : min(stop, start + MAX_LISTED_REJECTS)]
                    rejects.listed += [
                        (index, reject.reason.value, reject.field) for index in first.tolist()
                    ]
    return found


def _runs(message_numbers: Integers) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of one message: its rejects stand together."""
    if message_numbers[0] == message_numbers[-1]:  # the usual case
        yield 0, len(message_numbers)
        return
    changes = message_numbers[1:] != message_numbers[:-1]
    ends = [*(changes.nonzero()[0] + 1).tolist(), len(message_numbers)]
    yield from pairwise([0, *ends])
