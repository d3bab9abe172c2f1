"""Bearer tokens: where a request carries one, and whose it is.

The configuration has only their hashes, and only hashes are compared: their bytes say nothing about
the token, so how long a comparison takes says nothing either. It takes the same time anyway.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from aegisd.config.settings import Token

SUBPROTOCOL = "bearer."
"""Before a token that a browser offers as a WebSocket subprotocol: it can set no other header."""


class Tokens:
    """The configured tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tuple(tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def of_secret(self, secret: str) -> Token | None:
        """The token with this text."""
        return self.of_digest(hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())

    def of_digest(self, digest: str) -> Token | None:
        """The token with this SHA-256."""
        found = None
        for token in self._tokens:  # all of them: the time must not tell which one matched
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found


def presented(headers: Mapping[str, str]) -> str | None:
    """The token that a request carries; None where it carries none.

    A URL is no place for one: logs, histories and the Referer header keep it.
    """
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        # headers are read as Latin-1, which keeps each byte; the configured hash is of the bytes
        return bearer.strip().encode("latin-1").decode("utf-8", "surrogateescape")
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(SUBPROTOCOL):
            return protocol.strip().removeprefix(SUBPROTOCOL)
    return None
