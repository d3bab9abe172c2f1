"""Completes ``storage.dsn`` as libpq does.

A parameter comes from the first of these that has it:

1. the DSN itself,
2. the service that the DSN or PGSERVICE names,
3. the parameter's environment variable, such as PGHOST.

All problems are given at once. Where a password has special characters that were not escaped, any
part of the DSN may be a part of the password; such a problem shows nothing of the DSN.
"""

import difflib
import re
from collections.abc import Mapping

from aegisd.config.libpq import conninfo, services
from aegisd.config.libpq.parameters import PARAMETERS

_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)


def complete_dsn(text: str, environment: Mapping[str, str]) -> str:
    """The DSN with the parameters that its service and libpq's variables add.

    It is unchanged where they add none. Raises ValueError with all problems.
    """
    if not conninfo.is_uri(text) and not re.match(rf"\s*{_NAME.pattern}\s*=", text):
        raise ValueError("is neither 'embedded' nor a postgresql:// address nor key=value pairs")
    pairs = conninfo.parse(text)
    problems = _pair_problems(text, pairs)
    whole = dict(pairs)
    if service := whole.pop("service", "") or environment.get("PGSERVICE", ""):
        file, parameters = services.read_service(service, environment)
        problems += _add_missing(
            whole, {name: (str(file), value) for name, value in parameters.items()}
        )
    variables = {
        name: (each.variable, environment[each.variable])
        for name, each in PARAMETERS.items()
        if environment.get(each.variable)
    }
    problems += _add_missing(whole, variables)
    problems = problems or _contradictions({n: value for n, value in whole.items() if value})
    if problems:
        raise ValueError("; ".join(problems))
    return text if whole == dict(pairs) else conninfo.render(whole)


def _add_missing(whole: dict[str, str], found: Mapping[str, tuple[str, str]]) -> list[str]:
    """Add the parameters that ``whole`` lacks; return the problems.

    ``found`` has the origin (a file or variable) and the value of each parameter.
    """
    problems = []
    for name, (origin, value) in found.items():
        if name not in whole:
            whole[name] = value
            problem = _parameter_problem(name, value)
            problems += [f"{origin}: {problem}"] if problem else []
    return problems


def _pair_problems(text: str, pairs: list[tuple[str, str]]) -> list[str]:
    problems = []
    previous = ""
    for name, value in pairs:
        problem = _parameter_problem(name, value)
        if problem and ("password" in previous or _escaped_badly(text)):
            return [conninfo.advice(text)]
        problems += [problem] if problem else []
        previous = name
    return problems


def _escaped_badly(text: str) -> bool:
    """Whether a password may have ended early, and its rest been read as parameters.

    Then an @ is behind the first slash.
    """
    return conninfo.is_uri(text) and "@" in text.partition("://")[2].partition("/")[2]


def _parameter_problem(name: str, value: str) -> str:
    if name == "service":
        return ""
    if name in PARAMETERS:
        problem = value and PARAMETERS[name].check(value)
        return problem and f"{name}{problem}"
    if not _NAME.fullmatch(name):
        return "it has a parameter that libpq doesn't have"
    close = difflib.get_close_matches(name, [*PARAMETERS, "service"], n=1)
    return (
        f"libpq has no parameter '{name}'{', the nearest is ' if close else ''}{''.join(close)}; a"
        " setting of the server is given as options, -c NAME=VALUE (percent-encoded in an address)"
    )


def _contradictions(given: Mapping[str, str]) -> list[str]:
    """The problems of parameters together, each of which is right by itself."""
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
