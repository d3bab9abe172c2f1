"""A command of aegisd with shorter limits, for tests that would only wait for the real ones.

``python hasty.py MODULE.NAME=VALUE … python -m aegisd …`` sets the names in their modules, then
runs the command in this process.
"""

import sys
from importlib import import_module


def hasty(limits: dict[str, float]) -> list[str]:
    """What to put before ``python -m aegisd …``; limits by module (below ``aegisd``) and name."""
    return [sys.executable, __file__, *(f"{name}={value}" for name, value in limits.items())]


def main() -> int:
    start = sys.argv.index("-m")  # of the command: python -m aegisd …
    for given in sys.argv[1 : start - 1]:
        name, _, value = given.partition("=")
        module, _, limit = name.rpartition(".")
        found = import_module(f"aegisd.{module}")
        assert isinstance(getattr(found, limit), int | float), f"{name} is no limit"
        setattr(found, limit, float(value))
    cli = import_module("aegisd.cli")
    return cli.main(sys.argv[start + 2 :])


if __name__ == "__main__":
    sys.exit(main())
