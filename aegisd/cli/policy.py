"""``aegisd policy``: what the database keeps for how long, for all daemons that share it."""

from pathlib import Path

from aegisd.config.settings import Settings
from aegisd.errors import AegisdError, DatabaseUnavailable
from aegisd.store.database import open_postgres
from aegisd.store.embedded import EMBEDDED, dsn_of
from aegisd.store.upkeep import Policy, put_policy, read_policy


async def policy(settings: Settings, state: Path, make_ours: bool) -> None:
    """Print the policy; with ``make_ours`` the configuration's is made it before."""
    ours = Policy.of(settings.metrics)
    stored = settings.storage
    embedded = stored.dsn == EMBEDDED
    async with open_postgres(migrate=False, layout=stored.layout, schema=stored.schema) as postgres:
        postgres.dsn = dsn_of(state) if embedded else stored.dsn
        try:
            await postgres.prepare()
            if make_ours:
                await put_policy(postgres, ours, anew=True)
            found = await read_policy(postgres, ours)
        except DatabaseUnavailable as error:
            helps = "; an embedded database is there while its daemon runs" if embedded else ""
            raise AegisdError(f"the database can't be used: {error}{helps}") from None
    if found is None:
        raise AegisdError(
            "the database has no policy yet: the first daemon that maintains it sets its own, or"
            " run 'aegisd policy --set'"
        )
    configured = ours.by_key()
    for key, days in found.by_key().items():
        other = f"  # {configured[key]} in this configuration" if days != configured[key] else ""
        print(f"{key} = {days}{other}")
