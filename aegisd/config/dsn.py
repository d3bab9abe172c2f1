"""``storage.dsn``: which of libpq's parameters are taken, and what fills in those left out.

Operators write what libpq takes. A parameter that the driver would hand to the server as a setting,
or that would be ignored, is refused here instead, before anything connects.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from attrs import frozen

from aegisd.config import conninfo, services

MAX_PORT = 65535
MAX_KEEPALIVE_SECONDS = 32767  # tcp(7): the kernel takes no more
MAX_KEEPALIVE_COUNT = 127  # as well
MAX_MILLISECONDS = 2**31 - 1  # setsockopt(2) takes an int

_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)

Check = Callable[[str], str]
"""Gives what is wrong with a value, as the rest of the sentence after the parameter's name."""


@frozen
class Parameter:
    """One of libpq's parameters: the variable that fills it in, and what is wrong with a value."""

    variable: str
    problem: Check


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
    """An error shows no value: it may be the password that should have been escaped."""
    if all(re.fullmatch(r"0*[0-9]{0,5}", port) for port in value.split(",")) and all(
        1 <= int(port) <= MAX_PORT for port in value.split(",") if port
    ):
        return ""
    return (
        f": not a number from 1 to {MAX_PORT}; special characters in the user and password of an"
        " address are percent-encoded"
    )


def _hosts(value: str) -> str:
    """No host's name holds an @, as a directory may; the end of a password may stand before one."""
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
"""Every parameter of libpq 18 except ``service``; those of 17 are among them."""


def complete(text: str, environment: Mapping[str, str]) -> str:
    """A DSN with what its service and libpq's variables add; as it stands where they add nothing.

    Raises ValueError with all that is wrong, and with nothing that may be of a password.
    """
    if not conninfo.is_uri(text) and not re.match(rf"\s*{_NAME.pattern}\s*=", text):
        raise ValueError("is neither 'embedded' nor a postgresql:// address nor key=value pairs")
    pairs = conninfo.parse(text)
    problems = _problems_of_pairs(text, pairs)
    whole = dict(pairs)
    if service := whole.pop("service", "") or environment.get("PGSERVICE", ""):
        file, parameters = services.read(service, environment)
        problems += _add(whole, {name: (str(file), value) for name, value in parameters.items()})
    variables = {
        name: (each.variable, environment[each.variable])
        for name, each in PARAMETERS.items()
        if environment.get(each.variable)
    }
    problems += _add(whole, variables)
    problems = problems or _contradictions({n: value for n, value in whole.items() if value})
    if problems:
        raise ValueError("; ".join(problems))
    return text if whole == dict(pairs) else conninfo.render(whole)


def _add(whole: dict[str, str], found: Mapping[str, tuple[str, str]]) -> list[str]:
    """Add what is left out, each from a file or variable; return what is wrong with it."""
    problems = []
    for name, (origin, value) in found.items():
        if name not in whole:
            whole[name] = value
            problem = _problem(name, value)
            problems += [f"{origin}: {problem}"] if problem else []
    return problems


def _problems_of_pairs(text: str, pairs: list[tuple[str, str]]) -> list[str]:
    problems = []
    previous = ""
    for name, value in pairs:
        problem = _problem(name, value)
        if problem and ("password" in previous or _escaped_badly(text)):
            return [conninfo.advice(text)]
        problems += [problem] if problem else []
        previous = name
    return problems


def _escaped_badly(text: str) -> bool:
    """Whether a password's end may have become parameters: an @ comes after the first slash."""
    return conninfo.is_uri(text) and "@" in text.partition("://")[2].partition("/")[2]


def _problem(name: str, value: str) -> str:
    if name == "service":
        return ""
    if name in PARAMETERS:
        problem = value and PARAMETERS[name].problem(value)
        return problem and f"{name}{problem}"
    if not _NAME.fullmatch(name):
        return "it has a parameter that libpq doesn't have"
    close = difflib.get_close_matches(name, [*PARAMETERS, "service"], n=1)
    return (
        f"libpq has no parameter '{name}'{', the nearest is ' if close else ''}{''.join(close)}; a"
        " setting of the server is given as options, -c NAME=VALUE (percent-encoded in an address)"
    )


def _contradictions(given: Mapping[str, str]) -> list[str]:
    """What is wrong with parameters that each alone are right."""
    problems = []
    if "host" in given and "hostaddr" in given:
        problems.append("hostaddr: not beside host; keep host, with its address in /etc/hosts")
    hosts = len(given.get("hostaddr", given.get("host", "")).split(","))
    ports = len(given.get("port", "").split(","))
    if ports not in (1, hosts):
        problems.append(f"port: {ports} of them, but hosts: {hosts}; give one for each, or one")
    strict = ("require", "verify-ca", "verify-full")
    if given.get("sslnegotiation") == "direct" and given.get("sslmode") not in strict:
        problems.append(f"sslnegotiation='direct' needs an sslmode of {' '.join(strict)}")
    return problems
