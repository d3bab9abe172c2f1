"""Problems of several keys together, each of which is right by itself."""

from aegisd.config import patterns
from aegisd.config import settings as s
from aegisd.config.address import is_loopback, split_address


def consistency_problems(settings: s.Settings) -> list[str]:
    """Each problem as a line."""
    problems = patterns.problems(settings.paths.patterns)
    host, _ = split_address(settings.http.listen)
    if not settings.http.tokens and not is_loopback(host):
        problems.append(
            f"http.listen: without http.tokens only loopback may be listened on, not {host!r}"
        )
    if bool(settings.http.tls_certificate) != bool(settings.http.tls_key):
        problems.append("http.tls_key: http.tls_certificate and http.tls_key go together")
    for name, values in {
        "alerts.rules": [rule.id for rule in settings.alerts.rules],
        "http.tokens": [token.name for token in settings.http.tokens],
    }.items():
        problems += [
            f"{name}[{i}]: '{value}' is there twice"
            for i, value in enumerate(values)
            if value in values[:i]
        ]
    return problems
