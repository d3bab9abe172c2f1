"""Events that are refused: by the daemon, as its answer says, or surely, as can be told here."""

import time
from typing import Any

from attrs import frozen

from aegisd.config.settings import Privacy
from aegisd.events.units import SECOND_US
from aegisd.wire import Decoder, EndpointNamer

ANY_AGE = 2**62
"""How old an event may be is the daemon's own setting."""

_decoder = Decoder(ANY_AGE, Privacy(), EndpointNamer(templates=False))


@frozen
class Rejects:
    """The events of a message that are refused; of the first of them the number in it, and why."""

    count: int = 0
    listed: tuple[tuple[int, str], ...] = ()


def answered(answer: dict[str, Any], events: int) -> Rejects:
    """What an acknowledgement of so many events tells. Raises ValueError, TypeError, KeyError."""
    count, listed = answer["rejectedCount"], answer["rejected"]
    found = tuple((int(index), f"{reason} {field}".strip()) for index, reason, field in listed)
    if not len(found) <= count <= events or not all(0 <= index < events for index, _ in found):
        raise ValueError("there are not so many events")
    return Rejects(count, found)


def foreseen(message: bytes) -> Rejects:
    """What any daemon rejects of a message, whatever its settings are."""
    found = [
        (int(index), f"{reject.reason.value} {reject.field}".strip())
        for decoded in _decoder.decode([message], round(time.time() * SECOND_US))
        for reject in decoded.rejects
        for index in reject.indexes
    ]
    return Rejects(len(found), tuple(sorted(found)))
