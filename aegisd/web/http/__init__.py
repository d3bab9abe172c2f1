"""The HTTP/1.1 protocol of one port, by h11: messages, connections, who may ask.

Bytes go in, ``Request`` values come out; ``Response`` values go in, bytes come out. It knows no
path of the API.
"""

from aegisd.web.http.connections import MAX_CONNECTIONS, Connection, Connections
from aegisd.web.http.exchange import HEAD_SECONDS, RECEIVE_BYTES, Exchange
from aegisd.web.http.guard import OPEN_PATHS, Guard
from aegisd.web.http.handshake import check_handshake
from aegisd.web.http.leaving import cancel_when_peer_leaves
from aegisd.web.http.message import (
    SAFE_METHODS,
    HttpError,
    Request,
    Response,
    bad_request,
    success,
    to_json,
)

__all__ = [
    "HEAD_SECONDS",
    "MAX_CONNECTIONS",
    "OPEN_PATHS",
    "RECEIVE_BYTES",
    "SAFE_METHODS",
    "Connection",
    "Connections",
    "Exchange",
    "Guard",
    "HttpError",
    "Request",
    "Response",
    "bad_request",
    "cancel_when_peer_leaves",
    "check_handshake",
    "success",
    "to_json",
]
