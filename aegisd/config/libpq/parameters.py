"""Which of libpq's parameters ``storage.dsn`` may have, and with which values.

Operators write what libpq takes, but the driver (asyncpg) knows fewer parameters. It would send an
unknown one to the server as a setting, or ignore it. So such a parameter is refused here, before
anything connects, and the refusal says what to write instead.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from attrs import frozen

from aegisd.config.address import MAX_PORT

MAX_KEEPALIVE_SECONDS = 32767  # the kernel's limit, tcp(7)
MAX_KEEPALIVE_COUNT = 127  # the kernel's limit, tcp(7)
MAX_MILLISECONDS = 2**31 - 1  # setsockopt(2) takes an int

Check = Callable[[str], str]
"""Gives the problem of a value, as the rest of a sentence that starts with the parameter's name;
empty where there is none."""


@frozen
class Parameter:
    """One of libpq's parameters: its environment variable ("" for none), and its check."""

    variable: str
    check: Check


def _any(_: str) -> str:
    return ""


def _one_of(*values: str, why: str = "") -> Check:
    def check(value: str) -> str:
        if value in values:
            return ""
        return f"={value!r} is none of {' '.join(values)}{': ' if why else ''}{why}"

    return check


def _never(why: str) -> Check:
    return lambda _: f" can't be had: {why}"


def _up_to(most: int) -> Check:
    def check(value: str) -> str:
        if re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= most:
            return ""
        return f"={value!r} is not a whole number from 0 to {most}"

    return check


def _seconds(value: str) -> str:
    return "" if re.fullmatch(r"-?[0-9]{1,9}", value) else f"={value!r} is no number of seconds"


def _encoding(value: str) -> str:
    if re.fullmatch(r"auto|utf-?8|unicode", value, re.IGNORECASE):
        return ""
    return f"={value!r} can't be had: all text is sent as UTF-8; leave it out"


def _root_certificates(value: str) -> str:
    if value != "system":
        return ""
    return "='system' can't be had: name the system's file, with sslmode=verify-full"


def _ports(value: str) -> str:
    """The problem shows no value: it may be a part of a password that was not escaped."""
    if all(re.fullmatch(r"0*[0-9]{0,5}", port) for port in value.split(",")) and all(
        1 <= int(port) <= MAX_PORT for port in value.split(",") if port
    ):
        return ""
    return (
        f": not a number from 1 to {MAX_PORT}; special characters in the user and password of an"
        " address are percent-encoded"
    )


def _hosts(value: str) -> str:
    """A directory may have an @. In a host name, the end of a password may be before it."""
    if not any("@" in host and not host.startswith("/") for host in value.split(",")):
        return ""
    return (
        " holds an @: special characters in user and password are percent-encoded; an abstract"
        " Unix socket can't be had"
    )


def _addresses(value: str) -> str:
    try:
        for address in value.split(","):
            ip_address(address)
    except ValueError:
        return f"={value!r} is no IP address; a name goes into host"
    return ""


_OAUTH = _never("the driver can't authenticate by OAuth; use a password or a certificate")
_SCRAM = _never("the driver takes no SCRAM keys; use password or passfile")
_TLS_VERSION = _one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

PARAMETERS: Mapping[str, Parameter] = {
    "application_name": Parameter("PGAPPNAME", _any),
    "channel_binding": Parameter(
        "PGCHANNELBINDING",
        _one_of(
            "disable",
            "prefer",
            why="the driver binds no channel; be sure of the server by sslmode=verify-full",
        ),
    ),
    "client_encoding": Parameter("PGCLIENTENCODING", _encoding),
    "connect_timeout": Parameter("PGCONNECT_TIMEOUT", _seconds),
    "dbname": Parameter("PGDATABASE", _any),
    "fallback_application_name": Parameter("", _any),
    "gssdelegation": Parameter(
        "PGGSSDELEGATION", _one_of("0", why="the driver delegates no credentials; leave it out")
    ),
    "gssencmode": Parameter(
        "PGGSSENCMODE",
        _one_of("disable", "prefer", why="the driver can't encrypt with GSS; use sslmode"),
    ),
    "gsslib": Parameter("PGGSSLIB", _one_of("gssapi")),
    "host": Parameter("PGHOST", _hosts),
    "hostaddr": Parameter("PGHOSTADDR", _addresses),
    "keepalives": Parameter("", _one_of("0", "1")),
    "keepalives_count": Parameter("", _up_to(MAX_KEEPALIVE_COUNT)),
    "keepalives_idle": Parameter("", _up_to(MAX_KEEPALIVE_SECONDS)),
    "keepalives_interval": Parameter("", _up_to(MAX_KEEPALIVE_SECONDS)),
    "krbsrvname": Parameter("PGKRBSRVNAME", _any),
    "load_balance_hosts": Parameter(
        "PGLOADBALANCEHOSTS",
        _one_of("disable", why="hosts are tried in their order; leave it out"),
    ),
    "max_protocol_version": Parameter("PGMAXPROTOCOLVERSION", _one_of("3.0", "3.2", "latest")),
    "min_protocol_version": Parameter(
        "PGMINPROTOCOLVERSION", _one_of("3.0", why="the driver speaks no newer one; leave it out")
    ),
    "oauth_client_id": Parameter("", _OAUTH),
    "oauth_client_secret": Parameter("", _OAUTH),
    "oauth_issuer": Parameter("", _OAUTH),
    "oauth_scope": Parameter("", _OAUTH),
    "options": Parameter("PGOPTIONS", _any),
    "passfile": Parameter("PGPASSFILE", _any),
    "password": Parameter("PGPASSWORD", _any),
    "port": Parameter("PGPORT", _ports),
    "replication": Parameter(
        "",
        _one_of("false", "off", "no", "0", why="rows are written by a plain one; leave it out"),
    ),
    "require_auth": Parameter(
        "PGREQUIREAUTH",
        _never(
            "the driver answers whichever method the server asks for; leave it out, and be sure of"
            " the server by sslmode=verify-full"
        ),
    ),
    "requirepeer": Parameter(
        "PGREQUIREPEER",
        _never(
            "the driver doesn't ask who serves a Unix socket; leave it out, and use a socket"
            " directory that only the server's account can write to"
        ),
    ),
    "scram_client_key": Parameter("", _SCRAM),
    "scram_server_key": Parameter("", _SCRAM),
    "sslcert": Parameter("PGSSLCERT", _any),
    "sslcertmode": Parameter(
        "PGSSLCERTMODE",
        _one_of("allow", why="the driver sends a certificate when it is asked for; leave it out"),
    ),
    "sslcompression": Parameter(
        "PGSSLCOMPRESSION", _one_of("0", why="TLS doesn't compress any more; leave it out")
    ),
    "sslcrl": Parameter("PGSSLCRL", _any),
    "sslcrldir": Parameter(
        "PGSSLCRLDIR", _never("the driver reads revoked certificates from one file; use sslcrl")
    ),
    "sslkey": Parameter("PGSSLKEY", _any),
    "sslkeylogfile": Parameter("", _never("set the variable SSLKEYLOGFILE instead")),
    "ssl_max_protocol_version": Parameter("PGSSLMAXPROTOCOLVERSION", _TLS_VERSION),
    "ssl_min_protocol_version": Parameter("PGSSLMINPROTOCOLVERSION", _TLS_VERSION),
    "sslmode": Parameter(
        "PGSSLMODE",
        _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    ),
    "sslnegotiation": Parameter("PGSSLNEGOTIATION", _one_of("postgres", "direct")),
    "sslpassword": Parameter("", _any),
    "sslrootcert": Parameter("PGSSLROOTCERT", _root_certificates),
    "sslsni": Parameter(
        "PGSSLSNI", _one_of("1", why="the driver always names the host; leave it out")
    ),
    "target_session_attrs": Parameter(
        "PGTARGETSESSIONATTRS",
        _one_of("any", "read-write", "primary", why="rows can be written to no other server"),
    ),
    "tcp_user_timeout": Parameter("", _up_to(MAX_MILLISECONDS)),
    "user": Parameter("PGUSER", _any),
}
"""Every parameter of libpq 18 except ``service``. They include those of libpq 17."""
