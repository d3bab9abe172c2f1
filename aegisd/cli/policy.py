"""``aegisd policy``: for how many days the database keeps what, for all daemons that share it."""

from pathlib import Path

import trio

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.config.settings import Settings
from aegisd.errors import AegisdError, DatabaseUnavailable
from aegisd.store.database import open_postgres
from aegisd.store.embedded import EMBEDDED, dsn_of
from aegisd.store.upkeep import Policy, put_policy, read_policy


def policy(config: Path | None, replace: bool) -> None:
    """Print the database's policy; with ``replace`` make the configuration's the policy first."""
    settings = load(config)
    configured = Policy.of(settings.metrics)
    stored = trio.run(_read, settings, Directories.here().state, configured, replace)
    if stored is None:
        raise AegisdError(
            "the database has no policy yet: the first daemon that maintains it sets its own, or"
            " run 'aegisd policy --set'"
        )
    configured_days = configured.by_key()
    for key, days in stored.by_key().items():
        other = configured_days[key]
        print(f"{key} = {days}{f'  # {other} in this configuration' if days != other else ''}")


async def _read(
    settings: Settings, state: Path, configured: Policy, replace: bool
) -> Policy | None:
    storage = settings.storage
    embedded = storage.dsn == EMBEDDED
    async with open_postgres(
        migrate=False, layout=storage.layout, schema=storage.schema
    ) as postgres:
        postgres.dsn = dsn_of(state) if embedded else storage.dsn
        try:
            await postgres.prepare()
            if replace:
                await put_policy(postgres, configured, anew=True)
            return await read_policy(postgres, configured)
        except DatabaseUnavailable as error:
            hint = "; an embedded database is there while its daemon runs" if embedded else ""
            raise AegisdError(f"the database can't be used: {error}{hint}") from None
