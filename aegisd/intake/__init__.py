"""The intake: counts what came in, hands it to live state and store, acknowledges it.

Bursts of messages go in. Datagrams go through ``Intake``; the stream's frames go through
``Acknowledger``, which has the answers when they are on the disk.
"""

from aegisd.intake.acknowledger import Acknowledger
from aegisd.intake.figures import IntakeFigures, SourceFigures
from aegisd.intake.intake import Intake

__all__ = ["Acknowledger", "Intake", "IntakeFigures", "SourceFigures"]
