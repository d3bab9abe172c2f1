"""``aegisd migrate``: brings the database's schema up to this version."""

from aegisd.config.directories import Directories
from aegisd.config.settings import Settings
from aegisd.store.database import open_postgres
from aegisd.store.embedded import EMBEDDED, embedded_postgres


async def migrate(settings: Settings, directories: Directories, role: str | None) -> None:
    """Create or upgrade the schema, and let ``role`` use it. Raises AegisdError."""
    stored = settings.storage
    async with open_postgres(migrate=True, layout=stored.layout, schema=stored.schema) as postgres:

        async def migrate_at(dsn: str) -> None:
            postgres.dsn = dsn
            await postgres.prepare()
            if role is not None:
                await postgres.grant(role)
            postgres.close()

        if stored.dsn == EMBEDDED:
            async with embedded_postgres(directories.state) as dsn:
                await migrate_at(dsn)
        else:
            await migrate_at(stored.dsn)
