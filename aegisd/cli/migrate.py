"""``aegisd migrate``: the database schema of this version."""

from pathlib import Path

import trio

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import configure_log
from aegisd.daemon import migrate as migrate_database


def migrate(config: Path | None, grant: str | None) -> None:
    """Create or upgrade the schema; let the role ``grant`` run the daemon."""
    settings = load(config)
    configure_log(settings.log)
    trio.run(migrate_database, settings, Directories.here(), grant)
