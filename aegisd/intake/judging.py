"""Judges the stream's messages by their seq: which are new, which came before. Pure.

A source's mark is the seq behind its last message that was taken; what it skipped, and its events
that were rejected, count as taken. A message with ``seq`` and
``count`` events is compared with the mark of its source, in the order in which messages came:

1. There is no mark, or seq >= mark: it is new. The mark moves to seq + count.
2. seq + count <= mark: a *duplicate*. It is acknowledged and not counted again.
3. seq < mark < seq + count: it *straddles* the mark. It is rejected, and ends its connection.

A message without a seq is accepted without a comparison. A message that can't be read ends its
connection, too. Messages that come *behind* the one that ends their connection are left out and
move no mark: the client sends them again over another connection, which may be judged in the same
group.
"""

from collections.abc import Collection, Sequence

from attrs import define, field, frozen

from aegisd.events.block import ABSENT
from aegisd.events.flows import Flows
from aegisd.store.journal import Marks, SourceKey


@frozen
class Origin:
    """Where a message came from: its connection's number in the group, and the uid of its peer."""

    connection: int
    uid: int


@define
class Verdict:
    """What becomes of messages, by their numbers in the group."""

    moved: dict[SourceKey, int] = field(factory=dict)  # marks, as they are after all messages
    duplicates: dict[int, int] = field(factory=dict)  # and their seq
    straddling: dict[int, int] = field(factory=dict)  # and their seq
    behind: set[int] = field(factory=set)  # messages after the one that ended their connection
    straddling_events: int = 0

    @property
    def left_out(self) -> set[int]:
        """The messages that are removed from the burst."""
        return {*self.duplicates, *self.straddling, *self.behind}


def judge(
    origins: Sequence[Origin], unreadable: Collection[int], flows: Flows, marks: Marks
) -> Verdict:
    """Judge all messages; ``origins`` has one of each, ``flows`` a row for those with a source."""
    verdict = Verdict()
    rows = {message: row for row, message in enumerate(flows.message_numbers.tolist())}
    ended = set()  # connections
    for message, origin in enumerate(origins):
        if origin.connection in ended:
            verdict.behind.add(message)
        elif message in unreadable:
            ended.add(origin.connection)
        elif (row := rows.get(message)) is not None and flows.seqs[row] != ABSENT:
            name = flows.sources.values[int(flows.sources.index[row])] or ""
            source, seq, count = (origin.uid, name), int(flows.seqs[row]), int(flows.counts[row])
            mark = verdict.moved.get(source, marks.get(source))
            if mark is None or seq >= mark:
                verdict.moved[source] = seq + count
            elif seq + count <= mark:
                verdict.duplicates[message] = seq
            else:
                verdict.straddling[message] = seq
                verdict.straddling_events += count
                ended.add(origin.connection)
    return verdict
