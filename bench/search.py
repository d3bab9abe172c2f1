"""The search for a receiver's highest rate without loss."""

import time

from attrs import frozen

from bench.measure import EVEN_RATE, SENDER_LIMIT, Load, Stored, drive, drops, store
from bench.receiver import Failed, Receiver

STEP = 1.12
MAX_STEPS = 8
"""The search for the highest rate goes up or down by the factor STEP, at most so often."""

STORED_STEP = 1.4
STORED_TRIES = 4
"""Tries for the rate that is stored. Its steps are larger: each waits for the database."""


@frozen
class Highest:
    """The highest rate without loss; ``limited`` if the sender could not send faster.

    ``lossy`` if there was loss at every rate down to this one.
    """

    rate: float
    limited: bool = False
    lossy: bool = False


def highest(receiver: Receiver, load: Load, seconds: float) -> Highest:
    """The highest rate without loss.

    A Unix socket makes its sender wait, so sending flat out shows it. Over UDP it is searched.
    """
    if load.transport == "unix":
        flat_out = drive(receiver, load, None, seconds)
        if flat_out.lost:
            raise Failed(f"{flat_out.lost:,} of a waiting sender's requests are lost")
        return Highest(flat_out.rate, flat_out.sender_busy > SENDER_LIMIT)
    found = _search(receiver, load, seconds)
    time.sleep(receiver.settle_seconds)  # all of it is counted and flushed before the next run
    return found


def _search(receiver: Receiver, load: Load, seconds: float) -> Highest:
    """The search begins at the rate received during a flood; each rate has two tries."""
    flood = drops(receiver, load, None, seconds)
    if not flood.lost:
        return Highest(flood.rate, limited=True)
    rate = (flood.sent - flood.lost) / flood.seconds
    best: float | None = None
    for _ in range(MAX_STEPS):
        tries = (drops(receiver, load, rate, seconds) for _ in range(2))
        lossless = next((outcome for outcome in tries if not outcome.lost), None)
        if lossless is not None:
            best = max(lossless.rate, best or 0)
            if lossless.rate < SENDER_LIMIT * rate:
                return Highest(best, limited=True)
            rate *= STEP
        elif best is not None:
            break
        else:
            rate /= STEP
    return Highest(rate, lossy=True) if best is None else Highest(best)


def highest_stored(receiver: Receiver, load: Load, seconds: float, batch: int) -> Stored:
    """The rows committed a second without loss, while a little more is sent."""
    best: Stored | None = None
    rate: float = EVEN_RATE
    for _ in range(STORED_TRIES):
        found = store(receiver, load, rate, seconds, batch)
        if found.outcome.lost:
            rate = min(rate, found.rate) / STORED_STEP
            continue
        if best is None or found.rate > best.rate:
            best = found
        if found.limited:
            rate *= STORED_STEP
        elif found.outcome.rate > STORED_STEP * found.rate:
            rate = STEP * found.rate  # far too much was sent: filling memory costs CPU, too
        else:
            break
    if best is None:
        raise Failed(f"loss at every rate down to {rate:,.0f} a second")
    return best
