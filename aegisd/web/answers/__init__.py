"""The answers behind the paths: a request in, a response or an ``HttpError`` out.

There is a class for each subject. Each gets only what it needs of the daemon.
"""

from aegisd.web.answers.alerts import AlertAnswers
from aegisd.web.answers.costly import Costly
from aegisd.web.answers.daemon import DaemonAnswers
from aegisd.web.answers.history import HistoryAnswers
from aegisd.web.answers.live import LiveAnswers
from aegisd.web.answers.page import PageAnswers
from aegisd.web.answers.session import SessionAnswers
from aegisd.web.answers.silences import SilenceAnswers

__all__ = [
    "AlertAnswers",
    "Costly",
    "DaemonAnswers",
    "HistoryAnswers",
    "LiveAnswers",
    "PageAnswers",
    "SessionAnswers",
    "SilenceAnswers",
]
