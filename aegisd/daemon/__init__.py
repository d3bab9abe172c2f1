"""The daemon as a whole: built from configuration, served until it is told to stop.

``run`` is the command. To embed a daemon: ``async with build(…) as daemon`` and, in a nursery,
``await nursery.start(serve, daemon)``; ``daemon.stop()`` ends it.
"""

from aegisd.daemon.build import Daemon, build
from aegisd.daemon.logs import configure as configure_log
from aegisd.daemon.migration import migrate
from aegisd.daemon.process import run
from aegisd.daemon.serve import serve

__all__ = ["Daemon", "build", "configure_log", "migrate", "run", "serve"]
