"""The wire: a burst's bytes go in; blocks that may be kept, rejects and flows come out.

Plain messages are read the quick way, in C; all others the careful way, which alone makes rejects.
``decode`` tells both. Private data is removed and endpoints are named before a block is handed out.
"""

from aegisd.wire.careful.envelopes import most_rows
from aegisd.wire.decode import Decoded, Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

__all__ = ["Decoded", "Decoder", "EndpointNamer", "most_rows"]
