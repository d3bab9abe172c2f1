"""Sessions: what a browser has after its login in place of the token.

A session is a random number in a cookie that no script can read and that no other site's page
sends. It lasts SESSION_SECONDS, however often it is used, and lives in memory alone: a restart ends
it. A session is its token's: where that is no longer configured, it is nobody's.

The cookie's path is ``/``. The daemon does not know below which path of a proxy a browser sees it,
and the default path would be that of ``api/``, which leaves the WebSocket out. Cookies know no port
either. So two daemons below one host would take each other's cookie away, had they the same name:
each has a random one.
"""

import hashlib
import secrets
from collections.abc import Mapping

from attrs import frozen

from aegisd.config.settings import Token
from aegisd.web.access.tokens import Tokens

SESSION_SECONDS = 12 * 3600
"""A working day and its margins: one login a day."""

MAX_SESSIONS = 100
"""Of one token; the oldest ends. A token that is shared by a team has one for each browser."""

ID_BYTES = 32


@frozen
class _Session:
    token_digest: str
    ends: float


class Sessions:
    """The sessions of all browsers. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._cookie = f"aegisd_session_{secrets.token_hex(4)}"
        self._sessions: dict[str, _Session] = {}  # by the hash of their id, the oldest first

    def begin(self, token: Token, now: float) -> str:
        """Begin a session; return its id."""
        self._sessions = {d: s for d, s in self._sessions.items() if now < s.ends}
        own = [d for d, s in self._sessions.items() if s.token_digest == token.sha256]
        for digest in own[: max(0, len(own) - MAX_SESSIONS + 1)]:
            del self._sessions[digest]
        identifier = secrets.token_urlsafe(ID_BYTES)
        self._sessions[_digest(identifier)] = _Session(token.sha256, now + SESSION_SECONDS)
        return identifier

    def token_of(self, headers: Mapping[str, str], tokens: Tokens, now: float) -> Token | None:
        """The token of the session whose cookie is among the headers; None where there is none."""
        session = self._sessions.get(_digest(self._identifier(headers)))
        if session is None or session.ends <= now:
            return None
        return tokens.of_digest(session.token_digest)

    def end(self, headers: Mapping[str, str]) -> None:
        """End the session whose cookie is among the headers."""
        self._sessions.pop(_digest(self._identifier(headers)), None)

    def cookie(self, identifier: str, *, secure: bool) -> str:
        """The Set-Cookie header of a session; it deletes the cookie where ``identifier`` is ""."""
        seconds = SESSION_SECONDS if identifier else 0
        attributes = f"Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict"
        return f"{self._cookie}={identifier}; {attributes}{'; Secure' if secure else ''}"

    def _identifier(self, headers: Mapping[str, str]) -> str:
        for pair in headers.get("cookie", "").split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self._cookie:
                return value
        return ""


def _digest(identifier: str) -> str:
    """What a session is found by: how far a look-up gets tells nothing about the id itself."""
    return hashlib.sha256(identifier.encode("latin-1")).hexdigest()
