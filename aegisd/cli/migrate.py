"""``aegisd migrate``: the database schema of this version."""

from pathlib import Path

import trio

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import logs
from aegisd.daemon import serve as daemon


def migrate(config: Path | None, grant: str | None) -> None:
    """Create or upgrade the schema; let the role ``grant`` run the daemon."""
    settings = load(config)
    logs.configure(settings.log)
    trio.run(daemon.migrate, settings, Directories.here(), grant)
