"""What a listener has counted since the start."""

from attrs import frozen


@frozen
class ListenerFigures:
    """One listener's counters, as a snapshot.

    ``messages`` are datagrams or frames, ``bytes`` are theirs. ``kernel_dropped`` are datagrams
    that the kernel dropped because the socket's buffer was full (UDP only). ``refused`` are
    connections that found no room; None for datagrams, which have no connections.
    """

    address: str
    messages: int
    bytes: int
    kernel_dropped: int
    refused: int | None
