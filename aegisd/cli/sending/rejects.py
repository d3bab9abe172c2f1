"""Which events a daemon rejects: as its answer says, or as is certain without an answer."""

import time
from typing import Any

from attrs import frozen

from aegisd.config.settings import Privacy
from aegisd.events.units import SECOND_US
from aegisd.wire import Decoder, EndpointNamer

ANY_AGE = 2**62
"""How old an event may be is the daemon's own setting (retention), which is not known here."""

_decoder = Decoder(ANY_AGE, Privacy(), EndpointNamer(templates=False), kinds=frozenset())


@frozen
class Rejects:
    """The rejected events of a message.

    ``count`` is of all; ``listed`` has the first of them: its index in the message, and why.
    """

    count: int = 0
    listed: tuple[tuple[int, str], ...] = ()


def rejects_in_answer(answer: dict[str, Any], events: int) -> Rejects:
    """The rejects in the acknowledgement of a message with so many events.

    Raises ValueError, TypeError or KeyError where it is no acknowledgement.
    """
    count, listed = answer["rejectedCount"], answer["rejected"]
    found = tuple((int(index), f"{reason} {field}".strip()) for index, reason, field in listed)
    if not len(found) <= count <= events or not all(0 <= index < events for index, _ in found):
        raise ValueError("there are not so many events")
    return Rejects(count, found)


def certain_rejects(message: bytes) -> Rejects:
    """What every daemon rejects of a message, whatever its settings are."""
    found = [
        (int(index), f"{reject.reason.value} {reject.field}".strip())
        for decoded in _decoder.decode([message], round(time.time() * SECOND_US))
        for reject in decoded.rejects
        for index in reject.indexes
    ]
    return Rejects(len(found), tuple(sorted(found)))
