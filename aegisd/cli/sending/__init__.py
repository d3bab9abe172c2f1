"""What ``aegisd send`` and ``aegisd import`` share, and how an access log is read.

``senders`` sends events to a daemon; ``rejects`` tells which of them it refuses; ``counts`` sums up
what was sent and what was not. ``access_log`` reads a line, with the client that
``client_address`` finds; ``time_outliers`` finds times that a wrong clock wrote.
"""

from aegisd.cli.sending.access_log import Event, parse_combined
from aegisd.cli.sending.counts import Failure, SendCounts
from aegisd.cli.sending.lines import numbered_lines, standard_input
from aegisd.cli.sending.progress import ProgressBar
from aegisd.cli.sending.rejects import Rejects, certain_rejects
from aegisd.cli.sending.senders import (
    MAX_GATHERED_BYTES,
    MAX_MESSAGE_BYTES,
    MessageTooLarge,
    Sender,
    open_sender,
    pack,
)
from aegisd.cli.sending.time_outliers import find_outliers

__all__ = [
    "MAX_GATHERED_BYTES",
    "MAX_MESSAGE_BYTES",
    "Event",
    "Failure",
    "MessageTooLarge",
    "ProgressBar",
    "Rejects",
    "SendCounts",
    "Sender",
    "certain_rejects",
    "find_outliers",
    "numbered_lines",
    "open_sender",
    "pack",
    "parse_combined",
    "standard_input",
]
