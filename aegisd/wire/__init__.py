"""The wire: from bytes to Blocks that may be kept.

``protocol`` is the protocol as data, ``decode`` reads messages, ``privacy`` removes what may
not be kept, ``endpoints`` turns paths into templates. Everything here is pure: no sockets, no
clock, no log.
"""
