"""The stream's task: takes frames of all connections in, and answers them when they are synced.

Frames that wait are processed as one group: one burst, one record of the journal, one sync. So a
disk that syncs a few thousand times a second acknowledges many more messages than that. The steps
for a group (``_process``):

1. Decode all frames.
2. Judge them (``judging``): an unreadable or straddling message ends its connection; then what is
   before its source's mark is a duplicate. What is left out is taken out, and the rest is decoded
   again, as its events must be numbered without gaps.
3. Append the rest to the journal as one record, which also moves the marks: both are on the disk,
   or neither. Where the journal can't be written, every connection gets an error and ends; their
   clients send again.
4. Connections without answers (no seq, no fault) go on at once. The others wait for the sync of
   their record (``_answer_synced``).
5. Count the events, and apply them to the live state.

A client whose connection broke before its answer sends again. Its message is then before the mark:
it is acknowledged as a duplicate.
"""

from collections import deque
from collections.abc import Sequence

import trio
from attrs import define, field

from aegisd.events.block import Block
from aegisd.events.flows import Flows
from aegisd.events.protocol import Reason
from aegisd.ingest import Answers, Burst, Sender, StreamListener, error_answer
from aegisd.intake.group import Frames, Group
from aegisd.intake.intake import BurstRejects, Intake
from aegisd.intake.judging import judge
from aegisd.store.journal import JournalUnavailable, pack_block
from aegisd.store.storage import Storage
from aegisd.wire import Decoded, most_rows

MAX_GROUP_EVENTS = 65_536
"""Most events that a group may hold by the size of its frames, but for a group of one connection.
A group becomes one record of the journal, which is written at once."""

UNAVAILABLE = error_answer("journal_unavailable", "the journal can't be written; send again later")


@define(eq=False)
class _Submission:
    """A connection's frames that wait for their answers."""

    listener: StreamListener
    frames: Frames
    answers: Answers = field(factory=lambda: Answers([]))
    answered: trio.Event = field(factory=trio.Event)

    @property
    def max_events(self) -> int:
        return sum(most_rows(len(frame)) for frame in self.frames.frames)


@define(eq=False)
class _Unsynced:
    """Submissions whose answers wait for the sync of a record."""

    record: int
    submissions: list[_Submission]


class Acknowledger:
    """The frames that wait, and the answers that wait. ``run`` is the task."""

    def __init__(self, intake: Intake, storage: Storage) -> None:
        self._intake = intake
        self._storage = storage
        self._submissions: deque[_Submission] = deque()
        self._submitted = trio.Event()
        self._unsynced: deque[_Unsynced] = deque()  # by record, the lowest first
        self._appended = trio.Event()

    async def submit(
        self, listener: StreamListener, sender: Sender, frames: Sequence[bytes]
    ) -> Answers:
        """Hand over a connection's frames; wait for their answers."""
        submission = _Submission(listener, Frames(sender, frames))
        self._submissions.append(submission)
        self._submitted.set()
        await submission.answered.wait()
        return submission.answers

    async def run(self) -> None:
        """Process what is submitted, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._process_groups)
            nursery.start_soon(self._answer_synced)

    async def _answer_synced(self) -> None:
        """Release answers whose records are on the disk."""
        while True:
            await self._appended.wait()
            self._appended = trio.Event()
            while self._unsynced:
                try:
                    await self._storage.sync.wait_until_synced(self._unsynced[0].record)
                except JournalUnavailable:
                    _refuse(self._unsynced.popleft().submissions)
                synced = self._storage.journal.records_synced
                while self._unsynced and self._unsynced[0].record <= synced:
                    _release(self._unsynced.popleft().submissions)

    async def _process_groups(self) -> None:
        while True:
            await self._submitted.wait()
            self._submitted = trio.Event()
            while self._submissions:
                # other connections run first: what they submit in this pass joins the group
                await trio.lowlevel.checkpoint()
                await self._process(self._next_group())

    def _next_group(self) -> list[_Submission]:
        submissions = [self._submissions.popleft()]
        events = submissions[0].max_events
        while self._submissions:
            events += self._submissions[0].max_events
            if events > MAX_GROUP_EVENTS:
                break
            submissions.append(self._submissions.popleft())
        return submissions

    async def _process(self, submissions: list[_Submission]) -> None:
        # 1. decode
        group = Group([submission.frames for submission in submissions])
        parts = await self._decode(group.burst)
        flows = Flows.concatenate([part.flows for part in parts])
        # 2. closings and verdicts
        unreadable = {message for part in parts for message in part.unreadable}
        verdict = judge(group.origins, unreadable, flows, self._storage.marks)
        if group.apply(verdict, unreadable):
            parts = await self._decode(group.burst)
            flows = Flows.concatenate([part.flows for part in parts])
        # 3. one record
        blocks: list[Block] = []
        packed: list[bytes] = []
        for part in parts:
            blocks += part.blocks
            packed += map(pack_block, part.blocks)
            await trio.lowlevel.checkpoint()
        try:
            record = self._storage.append_with_marks(blocks, packed, verdict.moved)
        except JournalUnavailable:
            _refuse(submissions)
            return
        # 4. answers
        for submission, answers in zip(submissions, group.answers(flows, parts), strict=True):
            submission.answers = answers
        _release([each for each in submissions if not each.answers.payloads])
        unsynced = [each for each in submissions if each.answers.payloads]
        if unsynced:
            self._unsynced.append(_Unsynced(record, unsynced))
            self._appended.set()
        # 5. counts
        self._intake.count_rejected(Reason.BAD_SEQ, verdict.straddling_events)
        rejects: BurstRejects = {}
        for part in parts:
            self._intake.count(submissions[0].listener, group.burst, part, rejects)
            await trio.lowlevel.checkpoint()

    async def _decode(self, burst: Burst) -> list[Decoded]:
        parts = []
        for part in self._intake.decode(burst.messages):
            parts.append(part)
            await trio.lowlevel.checkpoint()
        return parts


def _release(submissions: list[_Submission]) -> None:
    for submission in submissions:
        submission.answered.set()


def _refuse(submissions: list[_Submission]) -> None:
    for submission in submissions:
        submission.answers = Answers([UNAVAILABLE], close=True)
    _release(submissions)
