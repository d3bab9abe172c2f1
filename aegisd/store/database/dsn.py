"""The hosts of ``storage.dsn``, each with the arguments for asyncpg and its own time. Pure.

``config.libpq`` has checked the DSN, and has filled in libpq's variables (PGHOST and others). Each
parameter that is still missing gets libpq's default here. So asyncpg reads no variable itself, and
the embedded Postgres is reached whatever they say.
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
"""The parameters that asyncpg takes in a DSN only, with libpq's defaults."""

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
    """For ``asyncpg.connect``."""
    seconds: float
    """The ``timeout`` among them."""
    _parameters: Mapping[str, str]

    def tune(self, connected: Any) -> None:
        """Set the DSN's keepalives on a connected socket; on unless turned off, as in libpq."""
        if connected.family not in (socket.AF_INET, socket.AF_INET6):
            return
        alive = self._parameters.get("keepalives", "1") != "0"
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, alive)
        for name, option in _KEEPALIVES.items():
            if value := int(self._parameters.get(name, 0)):
                connected.setsockopt(socket.IPPROTO_TCP, option, value)

    def explain(self, error: OSError) -> str:
        """The file or socket that an error is about, which itself says only "No such file".

        "" where the error says enough.
        """
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
    """The hosts of a DSN in the order to try them.

    Each has ``connect_timeout`` seconds; without it the hosts share ``limit`` seconds. Raises
    ValueError where the DSN names no user and the account has no name.
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
    """The account's name, for a DSN without a user. In a container an account may have none."""
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
    """The settings that a session starts with; ``options`` is the server's command line."""
    fallback = given.get("fallback_application_name", APPLICATION_NAME)
    settings = {"application_name": given.get("application_name", fallback)}
    return settings | ({"options": given["options"]} if "options" in given else {})


def _tls(host: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The arguments for TLS. A Unix socket goes without, as in libpq."""
    if host.startswith("/"):
        return {"ssl": "disable", "direct_tls": False}
    told = {name: given.get(name, default) for name, default in _TLS.items()}
    query = {name: value for name, value in told.items() if value}
    return {"dsn": "postgresql://?" + urlencode(query, quote_via=quote)}
