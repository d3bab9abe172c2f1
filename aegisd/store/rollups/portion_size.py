"""How many pieces a portion may have: as many as are folded in TARGET_SECONDS. Pure.

What a piece costs is not known ahead: it depends on the server, the number of nodes, how full the
levels are, and whether chunks are compressed. So the limit follows from how long the last portion
took.
"""

from attrs import define

FIRST_PIECES = 20_000
"""The first limit, before anything is known: a second or two on a small server."""

MAX_PIECES = 200_000
"""The limit never grows beyond this: Postgres sorts the pieces' sketches on its disk."""

TARGET_SECONDS = 5.0
"""How long a portion should take: long beside the cost of a transaction, short beside its time
limit, even if the next portion costs ten times as much."""


@define
class PortionSize:
    """How many pieces of each kind the next portion may have.

    A portion has whole minutes, at least one. So with a limit of 1 it has one minute, with all its
    pieces.
    """

    max_pieces: int = FIRST_PIECES

    def adapt(self, seconds: float, *, full: bool) -> None:
        """Adapt to a portion that took ``seconds``; ``full``: it ended at the limit."""
        if seconds > TARGET_SECONDS:
            self.max_pieces = max(1, int(self.max_pieces * TARGET_SECONDS / seconds))
        elif full and seconds < TARGET_SECONDS / 2:
            self.max_pieces = min(MAX_PIECES, 2 * self.max_pieces)

    def halve(self) -> None:
        """Halve the limit, down to 1: a portion failed, perhaps because it was too large."""
        self.max_pieces = max(1, self.max_pieces // 2)
