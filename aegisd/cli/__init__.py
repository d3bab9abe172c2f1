"""The command line: ``aegisd COMMAND``.

``main`` has the parser and the exit codes. Each command has a module of its own name, but
``import`` is in ``import_log``, ``check-config`` in ``config``. ``sending`` is what ``send`` and
``import`` share.
"""

from aegisd.cli.main import main

__all__ = ["main"]
