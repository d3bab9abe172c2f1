"""``aegisd token``: makes a bearer token, and the line of the configuration that knows its hash."""

import hashlib
import secrets

import tomli_w

from aegisd.config.load import settings_of

PREFIX = "aegisd_"
"""Tells scanners of code and logs what this secret is, and no token begins with a dash."""

TOKEN_BYTES = 32


def token(name: str, role: str) -> None:
    """Print a new token, once, and its entry. Raises ConfigError where the name is no good."""
    secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    entry = {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), "role": role}
    settings_of({"http": {"tokens": [entry]}})
    pairs = ", ".join(tomli_w.dumps({key: value}).strip() for key, value in entry.items())
    print(f"# the token; it is shown only now\n{secret}")
    print(f"# for the configuration, below [http]\ntokens = [{{ {pairs} }}]")
