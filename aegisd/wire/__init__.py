"""The wire: from bytes to Blocks that may be kept.

``protocol`` is the protocol as data, ``decode`` reads messages, ``privacy`` removes what may
not be kept, ``endpoints`` turns paths into templates. Everything here is pure: no sockets, no
clock, no log.
"""

from aegisd.wire.careful.envelopes import most_rows
from aegisd.wire.decode import Decoded, Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

__all__ = ["Decoded", "Decoder", "EndpointNamer", "most_rows"]
