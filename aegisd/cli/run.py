"""``aegisd run``: the daemon in the foreground."""

from pathlib import Path

import trio

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import logs
from aegisd.daemon import serve as daemon


def run(config: Path | None) -> None:
    """Run until a signal stops it."""
    settings = load(config)
    logs.configure(settings.log)
    trio.run(daemon.run, settings, Directories.here())
