"""A daemon's figures as tests need them: a value, without a daemon."""

from typing import Any

from attrs import evolve

from aegisd.alerts import AlertFigures
from aegisd.events.protocol import KINDS, Reason
from aegisd.ingest import ListenerFigures
from aegisd.intake import IntakeFigures
from aegisd.live import LiveState
from aegisd.store.storage import StorageFigures
from aegisd.store.upkeep import UpkeepFigures
from aegisd.web import DaemonFigures

STORAGE = StorageFigures(
    waiting=0,
    journal_bytes=0,
    no_room=0,
    lost_with_files=0,
    append_error=None,
    sync_error=None,
    connected=True,
    batches=0,
    rows=0,
    failures=0,
    refused=0,
    sampled_out=0,
    last_flush=None,
    last_error=None,
    last_error_kind=None,
)
INTAKE = IntakeFigures(
    events=dict.fromkeys(KINDS, 0),
    rejected=dict.fromkeys(Reason, 0),
    altered=0,
    disabled=0,
    recent_rejects=[],
)


def daemon_figures(**changes: Any) -> DaemonFigures:
    """The figures of a daemon that has just started, with these changes."""
    figures = DaemonFigures(
        version="1.2.3",
        node="here",
        now=1000.0,
        configuration_loaded=900.0,
        uptime=100.0,
        listeners=[
            ListenerFigures("udp:127.0.0.1:7460", 5, 500, 2, None),
            ListenerFigures("stream:/run/stream.sock", 7, 700, 0, 3),
        ],
        intake=INTAKE,
        sources=[],
        storage=STORAGE,
        upkeep=UpkeepFigures({"fold": 0}, 0.0),
        alerts=AlertFigures(0, 0, 0),
        websocket_clients=0,
        websocket_refused={},
        http_refused={},
        live=LiveState(100, 1000.0, 1.0).overview(),
        requests=LiveState(100, 1000.0, 1.0).request_totals(0),
    )
    return evolve(figures, **changes)
