"""What each source sent and what of it never came.

A source counts its events; its messages say how many came before (``seq``). Sent is then the
span from the first message known to the end of the furthest one, lost is what of the span is
missing. A datagram that comes late, out of order, lowers the loss again.
"""

from attrs import define

from aegisd.wire.burst import Flow

MAX_SOURCES = 1000
SILENCE_SECONDS = 3600
"""A source that is silent this long is forgotten: it names a process, and processes end."""


@define
class Source:
    """One source's sums."""

    received: int = 0
    numbered: int = 0  # received in messages that had a seq
    first: int | None = None
    furthest: int = 0
    heard: int = 0

    @property
    def lost(self) -> int:
        """Events sent and not received; repeated datagrams can't make it negative."""
        return 0 if self.first is None else max(0, self.furthest - self.first - self.numbered)


class Sources:
    """The sources heard of lately, bounded: the one silent longest makes room."""

    def __init__(self) -> None:
        # in the order in which they were last heard of: the first is the one silent longest
        self.known: dict[str, Source] = {}

    def add(self, flows: list[Flow], now: int) -> None:
        """Take note of the messages of a burst; ``now`` is a second that never steps."""
        for flow in flows:
            source = self.known.pop(flow.source, None) or Source()
            if len(self.known) >= MAX_SOURCES:
                del self.known[next(iter(self.known))]
            self.known[flow.source] = source
            source.heard = now
            source.received += flow.count
            if flow.seq is not None:
                source.numbered += flow.count
                source.first = flow.seq if source.first is None else min(source.first, flow.seq)
                source.furthest = max(source.furthest, flow.seq + flow.count)

    def forget(self, now: int) -> None:
        """Forget what was silent too long."""
        for name in [n for n, s in self.known.items() if s.heard <= now - SILENCE_SECONDS]:
            del self.known[name]
