"""``aegisd run``: the daemon in the foreground."""

from pathlib import Path

import trio

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import configure_log
from aegisd.daemon import run as run_daemon


def run(config: Path | None) -> None:
    """Run until a signal stops it."""
    settings = load(config)
    configure_log(settings.log)
    trio.run(run_daemon, settings, Directories.here())
