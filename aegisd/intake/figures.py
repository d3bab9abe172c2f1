"""What the intake tells of itself: counters, the latest rejects, the sources."""

from collections.abc import Mapping, Sequence

from attrs import define, frozen

from aegisd.events.protocol import Reason
from aegisd.ingest import Peer


@define
class RecentReject:
    """Rejects of one burst, of one reason and field, for people who write emitters.

    ``preview`` and ``peer`` are of the first of them.
    """

    time: float  # seconds since 1970
    listener: str
    reason: Reason
    field: str
    count: int
    preview: str  # the message's first bytes in hex; empty where they may not be kept
    peer: Peer | None  # None where the socket doesn't tell


@frozen
class IntakeFigures:
    """What came in since the start, as a snapshot."""

    events: Mapping[str, int]  # accepted, by kind
    rejected: Mapping[Reason, int]
    altered: int  # texts that were cut or mended
    disabled: int  # events of kinds that are off
    recent_rejects: Sequence[RecentReject]  # the newest last


@frozen
class SourceFigures:
    """Events of one source, since it was first heard of."""

    name: str
    received: int
    lost: int  # on the way here
