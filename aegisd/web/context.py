"""What the web shows: every part of the daemon that has figures, in one value."""

from collections.abc import Callable, Sequence

from attrs import define

from aegisd.alerts.archive import Archive
from aegisd.alerts.manager import Manager
from aegisd.config.settings import Settings
from aegisd.ingest.datagram import DatagramListener
from aegisd.ingest.stream import StreamListener
from aegisd.intake import Intake
from aegisd.live.state import LiveState
from aegisd.losses import Losses
from aegisd.store.exact import Exact
from aegisd.store.history import History
from aegisd.store.maintenance import Maintainer
from aegisd.store.storage import Storage
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
    losses: Losses
    now: Callable[[], int]
    clocks: Callable[[], tuple[float, float]]
    started: tuple[float, float]
    stopping: bool = False

    def degradations(self) -> list[str]:
        """What doesn't work as it should, a line each."""
        figures = self.storage.writer.figures
        lines = []
        if self.settings.metrics.enabled and not figures.connected:
            lines.append(f"the database can't be used: {figures.last_error or 'connecting'}")
        if self.storage.backlog.figures.error is not None:
            lines.append(f"the journal can't be written: {self.storage.backlog.figures.error}")
        if self.storage.sync.error is not None:
            lines.append(f"the journal can't be brought to the disk: {self.storage.sync.error}")
        lines += self.upkeep.duties.lines()
        lines += [
            f"{cause}: {lost} so far"
            for cause, lost in self.losses.lasting(self.clocks()[1]).items()
        ]
        return lines
