"""The sockets that gateways send to: bound (``sockets``) and drained (``datagram``).

Nothing here looks into a message.
"""

from aegisd.ingest.datagram import DatagramListener
from aegisd.ingest.figures import ListenerFigures
from aegisd.ingest.gathering import Burst, Sender
from aegisd.ingest.listen import Sockets
from aegisd.ingest.receive import CREDENTIALS
from aegisd.ingest.sockets import address_of
from aegisd.ingest.stream import MAX_CONNECTIONS, Answers, StreamListener, error

__all__ = [
    "CREDENTIALS",
    "MAX_CONNECTIONS",
    "Answers",
    "Burst",
    "DatagramListener",
    "ListenerFigures",
    "Sender",
    "Sockets",
    "StreamListener",
    "address_of",
    "error",
]
