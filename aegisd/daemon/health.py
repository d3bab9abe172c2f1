"""What doesn't work as it should now, a line each; and what is lost, in the log.

``/readyz`` says ``degraded`` while there is a line, and shows the lines; ``/api/status`` shows them
too.

Two things are told:

- States: the database or the journal can't be used, a duty of the upkeep fails. The part in
  question knows it, and has logged it.
- Losses: events or rows that are gone. Parts only count them. ``watch``, each second, compares the
  counts with those of before. A cause is logged when it begins and then once in LOG_SECONDS at
  most, with what was lost since. It has a line until LASTING_SECONDS after its last loss.
"""

from collections.abc import Mapping, Sequence

import structlog
from attrs import define, field, frozen

from aegisd.config.settings import Metrics
from aegisd.ingest import DatagramListener, ListenerFigures, StreamListener
from aegisd.intake import Intake, IntakeFigures
from aegisd.store.storage import Storage, StorageFigures
from aegisd.store.upkeep import Maintainer

LOG_SECONDS = 60
LASTING_SECONDS = 60

log = structlog.get_logger()


class Health:
    """The lines for an admin, and for everybody: those name no addresses, roles or paths."""

    def __init__(
        self,
        listeners: Sequence[DatagramListener | StreamListener],
        intake: Intake,
        storage: Storage,
        upkeep: Maintainer,
        settings: Metrics,
    ) -> None:
        self._listeners = listeners
        self._intake = intake
        self._storage = storage
        self._upkeep = upkeep
        self._stores = settings.enabled  # else nothing is written to the database
        self._losses = Losses()
        self._watched_at = 0.0

    def watch(self, now: float) -> None:
        """Look for new losses, and log them; ``now`` is in steady seconds."""
        self._watched_at = now
        totals = lost_so_far(
            [listener.figures() for listener in self._listeners],
            self._intake.figures(),
            self._storage.figures(),
        )
        for loss in self._losses.observe(totals, now):
            log.warning(loss.cause, lost=loss.lost, in_all=loss.in_all)

    def lines(self, *, admin: bool) -> list[str]:
        """A line for each thing that doesn't work as it should."""
        storage = self._storage.figures()
        lines = []
        if away := self._stores and not storage.connected:
            why = storage.last_error if admin else storage.last_error_kind
            lines.append(f"the database can't be used: {why or 'connecting'}")
        for what, error in (
            ("written", storage.append_error),
            ("brought to the disk", storage.sync_error),
        ):
            if error is not None:
                lines.append(f"the journal can't be {what}" + (f": {error}" if admin else ""))
        lines += self._upkeep.duties.lines(admin=admin, away_is_told=away)
        lasting = self._losses.lasting(self._watched_at)
        lines += [f"{cause}: {lost} so far" for cause, lost in lasting.items()]
        return lines


def lost_so_far(
    listeners: Sequence[ListenerFigures], intake: IntakeFigures, storage: StorageFigures
) -> dict[str, int]:
    """What was lost since the start, by cause. A cause says what happened, and what helps."""
    return {
        "datagrams came faster than they can be taken; send more events in each, or over the Unix"
        " socket": sum(listener.kernel_dropped for listener in listeners),
        "events found no room while the journal could not be written; see /api/status for why": (
            storage.no_room
        ),
        "events were lost with damaged files of the journal": storage.lost_with_files,
        "rows were refused by Postgres and left out": storage.refused,
        "events were rejected; GET /api/ingest shows why": sum(intake.rejected.values()),
    }


@frozen
class Loss:
    """What a cause has lost since it was last logged, and in all."""

    cause: str
    lost: int
    in_all: int


@define
class _Cause:
    total: int = 0
    logged: int = 0  # of the total
    grew_at: float | None = None
    logged_at: float | None = None


@define
class Losses:
    """The causes, and when each last grew. Pure: times, in steady seconds, come in."""

    _causes: dict[str, _Cause] = field(factory=dict)

    def observe(self, totals: Mapping[str, int], now: float) -> list[Loss]:
        """Note what each cause has lost since the start; return what is to be logged now."""
        due = []
        for name, total in totals.items():
            cause = self._causes.setdefault(name, _Cause())
            if total > cause.total:
                cause.total, cause.grew_at = total, now
            may_log = cause.logged_at is None or now - cause.logged_at >= LOG_SECONDS
            if cause.total > cause.logged and may_log:
                due.append(Loss(name, cause.total - cause.logged, cause.total))
                cause.logged, cause.logged_at = cause.total, now
        return due

    def lasting(self, now: float) -> dict[str, int]:
        """The causes that grew within LASTING_SECONDS, and what each has lost in all."""
        return {
            name: cause.total
            for name, cause in self._causes.items()
            if cause.grew_at is not None and now - cause.grew_at < LASTING_SECONDS
        }
