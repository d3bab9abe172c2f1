"""The intake: takes what arrived, counts it, hands it to live state and store, acknowledges it."""

from aegisd.intake.acknowledge import Acknowledger
from aegisd.intake.intake import Intake

__all__ = ["Acknowledger", "Intake"]
