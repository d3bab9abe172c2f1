"""What the driver is told of ``storage.dsn``: one host after the other, each with its own time.

``config.dsn`` has taken what is here, and has filled in what libpq's variables say. What is still
left out is told all the same, so that the driver asks no variable of its own: the embedded
Postgres is reached whatever they say.
"""

import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import cycle
from typing import Any
from urllib.parse import quote, urlencode

from attrs import frozen

from aegisd.config.libpq import conninfo

APPLICATION_NAME = "aegisd"

_SAME_NAME = ("password", "passfile", "krbsrvname")
_TLS = {
    "sslcert": "",
    "sslcrl": "",
    "sslkey": "",
    "ssl_max_protocol_version": "",
    "sslmode": "prefer",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslnegotiation": "postgres",
    "sslpassword": "",
    "sslrootcert": "",
}
"""What the driver takes in a DSN only, with what libpq takes where they are left out."""

_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")

_KEEPALIVES = {
    "keepalives_idle": socket.TCP_KEEPIDLE,
    "keepalives_interval": socket.TCP_KEEPINTVL,
    "keepalives_count": socket.TCP_KEEPCNT,
    "tcp_user_timeout": socket.TCP_USER_TIMEOUT,
}


@frozen
class Host:
    """One server to try."""

    arguments: Mapping[str, Any]
    """Of ``asyncpg.connect``."""
    seconds: float
    """The ``timeout`` among them."""
    _parameters: Mapping[str, str]

    def tune(self, connected: Any) -> None:
        """Set what the DSN says of keepalives on a connected socket; libpq turns them on, too."""
        if connected.family not in (socket.AF_INET, socket.AF_INET6):
            return
        alive = self._parameters.get("keepalives", "1") != "0"
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, alive)
        for name, option in _KEEPALIVES.items():
            if value := int(self._parameters.get(name, 0)):
                connected.setsockopt(socket.IPPROTO_TCP, option, value)

    def named(self, error: OSError) -> str:
        """What an error is about, which alone says "No such file"; nothing where it says enough."""
        for name in _FILES:
            try:
                with suppress(KeyError), open(self._parameters[name], "rb"):
                    pass
            except OSError as reason:
                return f"storage.dsn: {name}: can't read {reason.filename}: {reason.strerror}"
        host = str(self.arguments["host"])
        if not host.startswith("/"):
            return ""
        return f"{host}/.s.PGSQL.{self.arguments['port']}: {error.strerror or error}"


def hosts(dsn: str, limit: float) -> list[Host]:
    """The servers of a DSN in the order to try them.

    Each has ``connect_timeout`` seconds, or its share of ``limit`` where that is left out. Raises
    ValueError where no user is named and the account has no name.
    """
    given = {name: value for name, value in conninfo.parse(dsn) if value}
    places = list(_places(given))
    timeout = int(given.get("connect_timeout", 0))
    seconds = float(timeout) if timeout > 0 else limit / len(places)
    always = {
        "user": given.get("user") or _account(),
        **{name: given[name] for name in _SAME_NAME if name in given},
        **({"database": given["dbname"]} if "dbname" in given else {}),
        "gsslib": "gssapi",
        "target_session_attrs": given.get("target_session_attrs", "any"),
        "server_settings": _settings(given),
        "timeout": seconds,
    }
    return [
        Host({**always, "host": host or None, "port": port, **_tls(host, given)}, seconds, given)
        for host, port in places
    ]


def _account() -> str:
    """The user where none is named; a container may run as a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ValueError(
            f"names no user, and the account {os.getuid()} has no name; name one in it"
        ) from None


def _places(given: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    ports = cycle(given.get("port", "").split(","))
    for host in given.get("hostaddr", given.get("host", "")).split(","):
        yield host, int(next(ports) or 5432)


def _settings(given: Mapping[str, str]) -> dict[str, str]:
    """What the server is told at the start of a session; ``options`` is its own language."""
    fallback = given.get("fallback_application_name", APPLICATION_NAME)
    settings = {"application_name": given.get("application_name", fallback)}
    return settings | ({"options": given["options"]} if "options" in given else {})


def _tls(host: str, given: Mapping[str, str]) -> dict[str, Any]:
    """As libpq, a Unix socket goes without."""
    if host.startswith("/"):
        return {"ssl": "disable", "direct_tls": False}
    told = {name: given.get(name, default) for name, default in _TLS.items()}
    query = {name: value for name, value in told.items() if value}
    return {"dsn": "postgresql://?" + urlencode(query, quote_via=quote)}
