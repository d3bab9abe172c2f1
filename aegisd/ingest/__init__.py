"""The sockets that gateways send to.

Datagrams are handed on in bursts; a stream's frames are handed on and answered. Nothing here looks
into a message.
"""

from aegisd.ingest.burst import Burst, Peer
from aegisd.ingest.datagram import DatagramListener
from aegisd.ingest.figures import ListenerFigures
from aegisd.ingest.listen import Sockets
from aegisd.ingest.recvmmsg import CREDENTIALS
from aegisd.ingest.stream import MAX_CONNECTIONS, Answers, StreamListener, error_answer

__all__ = [
    "CREDENTIALS",
    "MAX_CONNECTIONS",
    "Answers",
    "Burst",
    "DatagramListener",
    "ListenerFigures",
    "Peer",
    "Sockets",
    "StreamListener",
    "error_answer",
]
