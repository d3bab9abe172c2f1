"""What the web shows: every part of the daemon that has figures, in one value."""

from collections.abc import Callable, Sequence

from attrs import define

from aegisd.alerts import Archive, Manager
from aegisd.config.settings import Settings
from aegisd.daemon.losses import Losses
from aegisd.ingest import DatagramListener, StreamListener
from aegisd.intake import Intake
from aegisd.live import LiveState
from aegisd.store.history import Exact, History
from aegisd.store.storage import Storage
from aegisd.store.upkeep import Maintainer
from aegisd.web.http.connections import Connections
from aegisd.web.websocket import Hub


@define
class Context:
    """The parts.

    ``now`` moves the live state on, and gives the time in microseconds since 1970. ``clocks``
    gives wall time in seconds since 1970 and steady time; ``started`` is what it gave at first.
    """

    settings: Settings
    node: str
    live: LiveState
    intake: Intake
    listeners: Sequence[DatagramListener | StreamListener]
    storage: Storage
    history: History
    exact: Exact
    archive: Archive
    upkeep: Maintainer
    alerts: Manager
    hub: Hub
    connections: Connections
    losses: Losses
    now: Callable[[], int]
    clocks: Callable[[], tuple[float, float]]
    started: tuple[float, float]
    stopping: bool = False

    def degradations(self, *, admin: bool) -> list[str]:
        """What doesn't work as it should, a line each.

        What Postgres or the disk says of it is for an admin: it names addresses, roles and paths.
        """
        figures = self.storage.writer.figures
        lines = []
        if away := self.settings.metrics.enabled and not figures.connected:
            why = figures.last_error if admin else figures.last_kind
            lines.append(f"the database can't be used: {why or 'connecting'}")
        for what, error in (
            ("written", self.storage.backlog.figures.error),
            ("brought to the disk", self.storage.sync.error),
        ):
            if error is not None:
                lines.append(f"the journal can't be {what}" + (f": {error}" if admin else ""))
        lines += self.upkeep.duties.lines(admin=admin, away_is_told=away)
        lines += [
            f"{cause}: {lost} so far"
            for cause, lost in self.losses.lasting(self.clocks()[1]).items()
        ]
        return lines
