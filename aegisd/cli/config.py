"""``aegisd config`` and ``aegisd check-config``."""

from pathlib import Path

import tomli_w

from aegisd.cli.printable import escape_unprintable, toml_escape
from aegisd.config.load import load
from aegisd.config.to_toml import as_toml_values


def check_config(file: Path | None) -> None:
    """Raise ConfigError with all that is wrong; print nothing."""
    load(file)


def print_config(file: Path | None) -> None:
    """Print the effective configuration as TOML, with its secrets masked."""
    text = tomli_w.dumps(as_toml_values(load(file)))
    print(escape_unprintable(text, toml_escape), end="")
