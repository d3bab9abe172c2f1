"""The HTTP/1.1 protocol of one port, by h11: messages, connections.

Bytes go in, ``Request`` values come out; ``Response`` values go in, bytes come out. It knows no
path of the API.
"""

from aegisd.web.http.addresses import network_of, plain_address
from aegisd.web.http.budget import Budget
from aegisd.web.http.connections import MAX_CONNECTIONS, Connection, Connections
from aegisd.web.http.contents import Fitting, LastingHandler
from aegisd.web.http.cors import Cors
from aegisd.web.http.exchange import HEAD_SECONDS, RECEIVE_BYTES, Exchange
from aegisd.web.http.handshake import check_handshake
from aegisd.web.http.kept import Kept, KeptHandler
from aegisd.web.http.leaving import cancel_when_peer_leaves
from aegisd.web.http.message import (
    JSON,
    SAFE_METHODS,
    Handler,
    HttpError,
    Request,
    Response,
    Site,
    bad_request,
    success,
    to_json,
)

__all__ = [
    "HEAD_SECONDS",
    "JSON",
    "MAX_CONNECTIONS",
    "RECEIVE_BYTES",
    "SAFE_METHODS",
    "Budget",
    "Connection",
    "Connections",
    "Cors",
    "Exchange",
    "Fitting",
    "Handler",
    "HttpError",
    "Kept",
    "KeptHandler",
    "LastingHandler",
    "Request",
    "Response",
    "Site",
    "bad_request",
    "cancel_when_peer_leaves",
    "check_handshake",
    "network_of",
    "plain_address",
    "success",
    "to_json",
]
