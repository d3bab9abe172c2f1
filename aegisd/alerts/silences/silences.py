"""The silences: the table ``alert_silences``, and what of it this daemon has in memory.

All daemons that share the database share its silences. Each loads them every few seconds; what it
has loaded holds on while the database is away. It changes them in the database only.
"""

from typing import Any
from uuid import UUID

import trio

from aegisd.alerts.alert import Alert
from aegisd.alerts.silences.silence import Silence
from aegisd.errors import AegisdError
from aegisd.store.database import Postgres

MAX_SILENCES = 500
"""That have not ended. Each is looked at for each notice; nobody keeps more of them in mind."""

_COLUMNS = "id, rule_id, severity, starts_at, ends_at, comment, created_by"
_NOT_ENDED = f"SELECT {_COLUMNS} FROM alert_silences WHERE ends_at > $1 ORDER BY ends_at, id"


class TooManySilences(AegisdError):
    """There are MAX_SILENCES already."""


class Silences:
    """The silences that have not ended. Times are microseconds since 1970.

    Methods that wait raise DatabaseUnavailable.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._loaded: list[Silence] = []
        self._changing = trio.Lock()  # a load that began before a change would undo it in memory

    def cover(self, alert: Alert, moment: int) -> bool:
        """Whether a silence that was loaded covers the alert at ``moment``."""
        return any(silence.covers(alert, moment) for silence in self._loaded)

    async def load(self, now: int) -> None:
        """Take over what the database has."""
        async with self._changing:
            self._loaded = _silences(await self._postgres.fetch(_NOT_ENDED, now))

    async def list(self, now: int) -> list[Silence]:
        """The silences, the one that ends next first."""
        return _silences(await self._postgres.ask(lambda session: session.fetch(_NOT_ENDED, now)))

    async def add(self, silence: Silence, now: int) -> None:
        """Add a silence; it holds here at once. Raises TooManySilences."""
        async with self._changing:
            if not await self._insert(silence, now):
                raise TooManySilences(f"there are {MAX_SILENCES} silences, remove one first")
            self._loaded = [*self._loaded, silence]

    async def remove(self, id_: UUID) -> bool:
        """Remove a silence; False where there is none."""
        async with self._changing:
            removed = await self._postgres.fetch(
                "DELETE FROM alert_silences WHERE id = $1 RETURNING 1", id_
            )
            self._loaded = [silence for silence in self._loaded if silence.id != str(id_)]
        return bool(removed)

    async def _insert(self, silence: Silence, now: int) -> bool:
        added = await self._postgres.fetch(
            f"INSERT INTO alert_silences ({_COLUMNS}) SELECT $1, $2, $3, $4, $5, $6, $7"
            " WHERE (SELECT count(*) FROM alert_silences WHERE ends_at > $8) < $9 RETURNING 1",
            UUID(silence.id),
            silence.rule_id,
            silence.severity,
            silence.starts_at,
            silence.ends_at,
            silence.comment,
            silence.by,
            now,
            MAX_SILENCES,
        )
        return bool(added)


def _silences(rows: list[tuple[Any, ...]]) -> list[Silence]:
    return [Silence(str(row[0]), *row[1:]) for row in rows]
