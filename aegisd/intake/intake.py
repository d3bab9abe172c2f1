"""The way of every message: bytes, Block, what may be kept; then live state and store.

One place counts what came and what became of it. It is called with a whole burst, takes it part by
part, and does not wait for anything.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from attrs import define, field

from aegisd.config.settings import EnabledMetrics, Privacy
from aegisd.events.block import Block
from aegisd.events.protocol import BACKEND, KINDS, RATE_LIMIT, REQUEST, SYSTEM, Reason
from aegisd.events.units import SECOND_US
from aegisd.ingest import Burst, Sender
from aegisd.live import LiveState, Sources
from aegisd.wire import Decoded, Decoder

MAX_RECENT_REJECTS = 50
PREVIEW_BYTES = 64


_QUERY = re.compile(rb"[?#;]")  # these bytes may also be something else's: then less is shown


class Listener(Protocol):
    """Where messages come from; only its name is of interest here."""

    address: str


@define
class RecentReject:
    """A burst's rejects of one reason, to be looked at by whoever writes the emitter.

    ``time`` is in seconds since 1970; what is shown is of the first of ``count``.
    """

    time: float
    listener: str
    reason: Reason
    field: str
    count: int
    preview: str  # hex; empty where client addresses may not be kept
    sender: Sender | None  # where the socket tells


Told = dict[tuple[Reason, str], RecentReject]
"""What has been told of a burst's rejects so far: few, however many parts it has."""


@define
class IntakeFigures:
    """What came in, and what was not kept."""

    events: dict[str, int] = field(factory=lambda: dict.fromkeys(KINDS, 0))
    rejected: dict[Reason, int] = field(factory=lambda: dict.fromkeys(Reason, 0))
    altered: int = 0
    disabled: int = 0
    recent_rejects: deque[RecentReject] = field(factory=lambda: deque(maxlen=MAX_RECENT_REJECTS))


class Intake:
    """Takes bursts. ``clocks`` gives wall time (seconds since 1970) and steady time."""

    def __init__(
        self,
        decoder: Decoder,
        privacy: Privacy,
        enabled: EnabledMetrics,
        live: LiveState,
        keep: Callable[[list[Block]], None],
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._decoder = decoder
        self._privacy = privacy
        self._enabled = {
            REQUEST: enabled.requests,
            RATE_LIMIT: enabled.rate_limits,
            BACKEND: enabled.backends,
            SYSTEM: enabled.system,
        }
        self._live = live
        self._keep = keep
        self._clocks = clocks
        self.figures = IntakeFigures()
        self.sources = Sources()

    def take(self, listener: Listener, burst: Burst) -> Iterator[None]:
        """Take a burst of messages, part by part; the caller may do other things between them."""
        wall, steady = self._clocks()
        self._live.advance(wall, steady)
        told: Told = {}
        parts = self._decoder.decode(burst.messages, round(wall * SECOND_US))
        part = next(parts, None)
        while part is not None:
            self.account(listener, burst, part, told)
            self._keep(self.enabled(part))
            part = next(parts, None)
            if part is not None:
                yield
        if burst.oversize:
            self._reject(listener, Reason.OVERSIZE, "", burst.oversize, burst, None, told)

    def decode(self, messages: Sequence[bytes]) -> Iterator[Decoded]:
        """Decode messages as of now, part by part; nothing is counted yet."""
        wall, steady = self._clocks()
        self._live.advance(wall, steady)
        return self._decoder.decode(messages, round(wall * SECOND_US))

    def enabled(self, decoded: Decoded) -> list[Block]:
        """The blocks of kinds that are on."""
        return [block for block in decoded.blocks if self._enabled[block.kind]]

    def account(self, listener: Listener, burst: Burst, decoded: Decoded, told: Told) -> None:
        """Count what was decoded, and bring the kinds that are on into the live state.

        ``told`` is the same for all parts of the burst.
        """
        figures = self.figures
        figures.altered += decoded.altered
        if len(decoded.flows.counts):
            self.sources.add(decoded.flows, int(self._clocks()[1]))
        for reject in decoded.rejects:
            count, message = len(reject.messages), int(reject.messages[0])
            self._reject(listener, reject.reason, reject.field, count, burst, message, told)
        figures.disabled += sum(b.size for b in decoded.blocks if not self._enabled[b.kind])
        for block in self.enabled(decoded):
            figures.events[block.kind] += block.size
            self._live.apply(block)

    def refuse(self, reason: Reason, count: int) -> None:
        """Count rejects of messages that were not even taken."""
        self.figures.rejected[reason] += count

    def _reject(
        self,
        listener: Listener,
        reason: Reason,
        field: str,
        count: int,
        burst: Burst,
        message: int | None,
        told: Told,
    ) -> None:
        """Count ``count`` rejects; the first was in ``message`` of the burst, where it is there."""
        self.figures.rejected[reason] += count
        recent = told.get((reason, field))
        if recent is not None:
            recent.count += count
            return
        preview, sender = "", None
        wall, _ = self._clocks()
        if message is not None:
            preview = self._preview(burst.messages[message])
            sender = burst.sender(message)
        recent = RecentReject(wall, listener.address, reason, field, count, preview, sender)
        told[reason, field] = recent
        self.figures.recent_rejects.append(recent)

    def _preview(self, message: bytes) -> str:
        """The beginning of a message, without what may not be kept."""
        if self._privacy.client_ip != "full":
            return ""  # anything in it may be an address
        preview = message[:PREVIEW_BYTES]
        if self._privacy.strip_query:
            preview = _QUERY.split(preview, maxsplit=1)[0]
        return preview.hex()
