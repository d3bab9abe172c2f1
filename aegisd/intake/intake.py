"""Takes decoded messages in: counts them, and hands their blocks to live state and store.

A burst is decoded in parts of a bounded number of events. The caller may run other tasks between
two parts; the intake itself waits for nothing.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from attrs import evolve

from aegisd.config.settings import Privacy
from aegisd.events.block import Block
from aegisd.events.protocol import KINDS, Reason
from aegisd.events.units import SECOND_US
from aegisd.ingest import Burst
from aegisd.intake.figures import IntakeFigures, RecentReject, SourceFigures
from aegisd.live import LiveState, Sources
from aegisd.wire import Decoded, Decoder

MAX_RECENT_REJECTS = 50
PREVIEW_BYTES = 64

_QUERY = re.compile(rb"[?#;]")
"""Where a query may begin. In MessagePack these bytes may be something else, too: then the preview
is shorter than it had to be."""


class Listener(Protocol):
    """Where messages come from; the intake only shows its address."""

    address: str


BurstRejects = dict[tuple[Reason, str], RecentReject]
"""The rejects of one burst so far, by reason and field. All parts of the burst share it, so a burst
makes few of the MAX_RECENT_REJECTS, however many events it has."""


class Intake:
    """Counts since the start.

    Each event is counted exactly once: as accepted, rejected or disabled. ``append`` puts blocks
    into the store. ``clocks`` gives wall time (seconds since 1970) and steady time (seconds).
    """

    def __init__(
        self,
        decoder: Decoder,
        privacy: Privacy,
        live: LiveState,
        append: Callable[[list[Block]], None],
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._decoder = decoder
        self._privacy = privacy
        self._live = live
        self._append = append
        self._clocks = clocks
        self._events = dict.fromkeys(KINDS, 0)
        self._rejected = dict.fromkeys(Reason, 0)
        self._altered = 0
        self._disabled = 0
        self._recent_rejects: deque[RecentReject] = deque(maxlen=MAX_RECENT_REJECTS)
        self._sources = Sources()

    def process(self, listener: Listener, burst: Burst) -> Iterator[None]:
        """Decode a burst, count and store it, part by part; yields between two parts."""
        rejects: BurstRejects = {}
        parts = self.decode(burst.messages)
        part = next(parts, None)
        while part is not None:
            self.count(listener, burst, part, rejects)
            self._append(part.blocks)
            part = next(parts, None)
            if part is not None:
                yield
        if burst.oversize:
            self._reject(listener, Reason.OVERSIZE, "", burst.oversize, burst, None, rejects)

    def decode(self, messages: Sequence[bytes]) -> Iterator[Decoded]:
        """Decode messages as of now, part by part; nothing is counted yet."""
        wall, steady = self._clocks()
        self._live.advance(wall, steady)
        return self._decoder.decode(messages, round(wall * SECOND_US))

    def count(self, listener: Listener, burst: Burst, part: Decoded, rejects: BurstRejects) -> None:
        """Count a part of a burst, and apply its blocks to the live state.

        ``rejects`` is one dictionary for all parts of the burst, empty at first.
        """
        self._altered += part.altered
        if len(part.flows.counts):
            self._sources.add(part.flows, int(self._clocks()[1]))
        for reject in part.rejects:
            count, message = len(reject.messages), int(reject.messages[0])
            self._reject(listener, reject.reason, reject.field, count, burst, message, rejects)
        self._disabled += part.disabled
        for block in part.blocks:
            self._events[block.kind] += block.size
            self._live.apply(block)

    def count_rejected(self, reason: Reason, count: int) -> None:
        """Count events that were rejected without being decoded into a part."""
        self._rejected[reason] += count

    def forget_silent_sources(self, now: int) -> None:
        """Forget sources that were silent for long; ``now`` is in steady seconds."""
        self._sources.forget(now)

    def figures(self) -> IntakeFigures:
        """A snapshot of the counters and the latest rejects."""
        return IntakeFigures(
            events=dict(self._events),
            rejected=dict(self._rejected),
            altered=self._altered,
            disabled=self._disabled,
            recent_rejects=[evolve(reject) for reject in self._recent_rejects],
        )

    def source_figures(self) -> list[SourceFigures]:
        """A snapshot of the sources heard of lately, by name."""
        return [
            SourceFigures(name, source.received, source.lost)
            for name, source in sorted(self._sources.known.items())
        ]

    def _reject(
        self,
        listener: Listener,
        reason: Reason,
        field: str,
        count: int,
        burst: Burst,
        message: int | None,
        rejects: BurstRejects,
    ) -> None:
        """Count rejects. ``message`` has the first of them; None where it was too large to read."""
        self._rejected[reason] += count
        recent = rejects.get((reason, field))
        if recent is not None:
            recent.count += count
            return
        preview, sender = "", None
        wall, _ = self._clocks()
        if message is not None:
            preview = self._preview(burst.messages[message])
            sender = burst.sender(message)
        recent = RecentReject(wall, listener.address, reason, field, count, preview, sender)
        rejects[reason, field] = recent
        self._recent_rejects.append(recent)

    def _preview(self, message: bytes) -> str:
        """The first bytes of a message, without what may not be kept."""
        if self._privacy.client_ip != "full":
            return ""  # any byte of it may belong to a client's address
        preview = message[:PREVIEW_BYTES]
        if self._privacy.strip_query:
            preview = _QUERY.split(preview, maxsplit=1)[0]
        return preview.hex()
