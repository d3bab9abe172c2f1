"""The web interface: HTTP for questions, WebSocket for live pushes, one port for both.

``server`` takes connections, ``api`` finds the answer for a path. The daemon's figures come in as
values (``figures``); ``views`` and ``exposition`` turn values into JSON and Prometheus' text.
"""

from aegisd.web.access import Guard
from aegisd.web.answers import (
    AlertAnswers,
    Costly,
    DaemonAnswers,
    HistoryAnswers,
    LiveAnswers,
    PageAnswers,
    SessionAnswers,
    SilenceAnswers,
)
from aegisd.web.api import Api, routes
from aegisd.web.figures import DaemonFigures
from aegisd.web.http import MAX_CONNECTIONS, Connections, Cors, Fitting, Kept
from aegisd.web.server import Server
from aegisd.web.websocket import MAX_CLIENTS, Hub

__all__ = [
    "MAX_CLIENTS",
    "MAX_CONNECTIONS",
    "AlertAnswers",
    "Api",
    "Connections",
    "Cors",
    "Costly",
    "DaemonAnswers",
    "DaemonFigures",
    "Fitting",
    "Guard",
    "HistoryAnswers",
    "Hub",
    "Kept",
    "LiveAnswers",
    "PageAnswers",
    "Server",
    "SessionAnswers",
    "SilenceAnswers",
    "routes",
]
