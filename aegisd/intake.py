"""The way of every message: bytes, Block, what may be kept; then live state and store.

One place counts what came and what became of it. It is called with a whole burst and does
not wait for anything.
"""

import re
from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen

from aegisd.config.settings import EnabledMetrics, Privacy
from aegisd.ingest.datagram import Burst, DatagramListener, Sender
from aegisd.live.sources import Sources
from aegisd.live.state import LiveState
from aegisd.wire.block import Block
from aegisd.wire.decode import Decoder
from aegisd.wire.endpoints import Endpoints
from aegisd.wire.privacy import protect
from aegisd.wire.protocol import BACKEND, KINDS, RATE_LIMIT, REQUEST, SYSTEM, Reason

MAX_RECENT_REJECTS = 50
PREVIEW_BYTES = 64

MICROSECONDS = 1_000_000

_QUERY = re.compile(rb"[?#]")  # these bytes may also be something else's: then less is shown


@frozen
class RecentReject:
    """One reject, to be looked at by whoever writes the emitter. ``time``: seconds since 1970."""

    time: float
    listener: str
    reason: Reason
    field: str
    count: int
    preview: str  # hex; empty where client addresses may not be kept
    sender: Sender | None  # where the socket tells


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
        endpoints: Endpoints,
        enabled: EnabledMetrics,
        live: LiveState,
        store: Callable[[Block], None],
        clocks: Callable[[], tuple[float, float]],
    ) -> None:
        self._decoder = decoder
        self._privacy = privacy
        self._endpoints = endpoints
        self._enabled = {
            REQUEST: enabled.requests,
            RATE_LIMIT: enabled.rate_limits,
            BACKEND: enabled.backends,
            SYSTEM: enabled.system,
        }
        self._live = live
        self._store = store
        self._clocks = clocks
        self.figures = IntakeFigures()
        self.sources = Sources()

    def take(self, listener: DatagramListener, burst: Burst) -> None:
        """Take a burst of messages."""
        wall, steady = self._clocks()
        self._live.observe(wall, steady)
        decoded = self._decoder.decode(burst.messages, round(wall * MICROSECONDS))
        self.figures.altered += decoded.altered
        self.sources.add(decoded.flows, int(steady))
        for reject in decoded.rejects:
            message = decoded.message_of(int(reject.positions[0]))
            count = len(reject.positions)
            self._reject(listener, wall, reject.reason, reject.field, count, burst, message)
        if burst.oversize:
            self._reject(listener, wall, Reason.OVERSIZE, "", burst.oversize, burst, None)
        for block in decoded.blocks:
            self._keep(block)

    def _keep(self, block: Block) -> None:
        if not self._enabled[block.kind]:
            self.figures.disabled += block.size
            return
        self.figures.events[block.kind] += block.size
        kept = self._endpoints.name(protect(block, self._privacy))
        self._live.apply(kept)
        self._store(kept)

    def _reject(
        self,
        listener: DatagramListener,
        wall: float,
        reason: Reason,
        field: str,
        count: int,
        burst: Burst,
        message: int | None,
    ) -> None:
        """Count ``count`` rejects; the first was in ``message`` of the burst, where it is there."""
        self.figures.rejected[reason] += count
        preview, sender = "", None
        if message is not None:
            preview = self._preview(burst.messages[message])
            sender = burst.sender(message)
        self.figures.recent_rejects.append(
            RecentReject(wall, listener.address, reason, field, count, preview, sender)
        )

    def _preview(self, message: bytes) -> str:
        """The beginning of a message, without what may not be kept."""
        if self._privacy.client_ip != "full":
            return ""  # anything in it may be an address
        preview = message[:PREVIEW_BYTES]
        if self._privacy.strip_query:
            preview = _QUERY.split(preview, maxsplit=1)[0]
        return preview.hex()
