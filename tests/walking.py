"""Where MessagePack values end, as the careful way finds it."""

from aegisd.wire.careful.boundaries import end_of as steps_to_the_end


def end_of(data: bytes, at: int) -> int:
    """Where the value at ``at`` ends, -1 where it doesn't: all steps in one go."""
    steps = steps_to_the_end(data, at)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return int(done.value)
