"""Watches what is lost, and says so: in the log once a minute at most, in readiness while it lasts.

What is lost is counted where it is lost; here the counts are only compared with those of before.
"""

from collections.abc import Sequence

import structlog
from attrs import define, field, frozen

from aegisd.ingest import DatagramListener, StreamListener
from aegisd.intake import Intake
from aegisd.store.storage import Storage

LOG_SECONDS = 60
"""A cause is logged when it begins, and then no more often than this."""

LASTING_SECONDS = 60
"""A cause lasts until it has added nothing for so long."""

log = structlog.get_logger()


def lost_so_far(
    listeners: Sequence[DatagramListener | StreamListener], intake: Intake, storage: Storage
) -> dict[str, int]:
    """What was lost since the start, by cause: what happened, and what helps."""
    return {
        "datagrams came faster than they can be taken; send more events in each, or over the Unix"
        " socket": sum(listener.kernel_dropped() for listener in listeners),
        "events found no room while the journal could not be written; see /api/status for why": (
            storage.backlog.figures.dropped
        ),
        "events were lost with damaged files of the journal": storage.backlog.lost_with_files,
        "rows were refused by Postgres and left out": storage.writer.figures.refused,
        "events were rejected; GET /api/ingest shows why": sum(intake.figures.rejected.values()),
    }


@frozen
class Loss:
    """What a cause has lost since it was last told."""

    cause: str
    lost: int
    in_all: int


@define
class _Seen:
    total: int
    grew_at: float | None = None
    told_at: float | None = None
    told: int = 0


@define
class Losses:
    """The causes and when they last added something. Times are seconds that never step."""

    _seen: dict[str, _Seen] = field(factory=dict)

    def observe(self, totals: dict[str, int], now: float) -> list[Loss]:
        """Take note of how much each cause has lost since the start; return what to log."""
        news = []
        for cause, total in totals.items():
            seen = self._seen.setdefault(cause, _Seen(0))
            if total > seen.total:
                seen.total, seen.grew_at = total, now
            due = seen.told_at is None or now - seen.told_at >= LOG_SECONDS
            if seen.total > seen.told and due:
                news.append(Loss(cause, seen.total - seen.told, seen.total))
                seen.told, seen.told_at = seen.total, now
        return news

    def tell(self, totals: dict[str, int], now: float) -> None:
        """Take note, and log what is to be logged."""
        for loss in self.observe(totals, now):
            log.warning(loss.cause, lost=loss.lost, in_all=loss.in_all)

    def lasting(self, now: float) -> dict[str, int]:
        """The causes that have added something lately, and what each has lost in all."""
        return {
            cause: seen.total
            for cause, seen in self._seen.items()
            if seen.grew_at is not None and now - seen.grew_at < LASTING_SECONDS
        }
