"""Checks a WebSocket handshake by RFC 6455, 4.2.1, before the stream is handed to ``websocket``.

So a wrong handshake gets an HTTP answer that says what is wrong.
"""

import binascii
from base64 import b64decode
from http import HTTPStatus

from aegisd.web.http.message import HttpError, Request, bad_request

WEBSOCKET_VERSION = "13"
KEY_BYTES = 16


def check_handshake(request: Request) -> None:
    """Raise HttpError where the request is no WebSocket handshake."""
    headers = request.headers
    if not request.wants_websocket:
        raise HttpError(
            HTTPStatus.UPGRADE_REQUIRED,
            "upgrade_required",
            f"{request.path} speaks WebSocket",
            {"Upgrade": "websocket"},
        )
    if headers.get("sec-websocket-version") != WEBSOCKET_VERSION:
        raise HttpError(
            HTTPStatus.UPGRADE_REQUIRED,
            "bad_version",
            f"Sec-WebSocket-Version takes {WEBSOCKET_VERSION}",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": WEBSOCKET_VERSION},
        )
    if (
        request.method != "GET"
        or request.has_body
        or not all(value.isascii() for value in headers.values())
    ):
        raise bad_request("a handshake is a GET without a body, its headers ASCII")
    tokens = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    if "upgrade" not in tokens or not _has_key(headers):
        raise bad_request("a handshake has Connection: Upgrade and a Sec-WebSocket-Key")


def _has_key(headers: dict[str, str]) -> bool:
    try:
        return len(b64decode(headers.get("sec-websocket-key", ""), validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
