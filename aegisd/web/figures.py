"""What the daemon tells of itself at one moment: ``/api/status``, ``/api/ingest``, ``/metrics``."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from aegisd.alerts import AlertFigures
from aegisd.ingest import ListenerFigures
from aegisd.intake import IntakeFigures, SourceFigures
from aegisd.live import Overview, RequestTotals
from aegisd.store.storage import StorageFigures
from aegisd.store.upkeep import UpkeepFigures


@frozen(eq=False)
class DaemonFigures:
    """A snapshot of all parts. Times are in seconds since 1970."""

    version: str
    node: str
    now: float
    configuration_loaded: float
    uptime: float  # seconds, suspended time included
    listeners: Sequence[ListenerFigures]
    intake: IntakeFigures
    sources: Sequence[SourceFigures]
    storage: StorageFigures
    upkeep: UpkeepFigures
    alerts: AlertFigures
    websocket_clients: int
    websocket_refused: Mapping[str, int]  # by reason
    http_refused: Mapping[str, int]  # by the error's code; ``gave_way`` counts connections
    live: Overview
    requests: RequestTotals
