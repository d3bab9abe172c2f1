"""Silences: for how long the notices of which alerts are held back, kept in the database.

``Silence`` is one; ``Silences`` are all of them, as the database has them and in memory.
"""

from aegisd.alerts.silences.silence import Silence, silence_as_json
from aegisd.alerts.silences.silences import MAX_SILENCES, Silences, TooManySilences

__all__ = ["MAX_SILENCES", "Silence", "Silences", "TooManySilences", "silence_as_json"]
