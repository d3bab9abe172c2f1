"""The command line: ``aegisd COMMAND``.

``main`` has the parser and the exit codes. Each command has a file of its own name; ``sending`` is
what ``send`` and ``import`` share, ``top`` the live view.
"""

from aegisd.cli.main import main

__all__ = ["main"]
