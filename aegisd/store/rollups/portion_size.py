"""How many pieces to fold at once: as many as take TARGET_SECONDS. Pure.

What a piece costs is not known ahead: it depends on the server, the number of nodes, how full the
levels are, and whether chunks are compressed. So the bound follows from how long the last portion
took.
"""

from attrs import define

FIRST_PIECES = 20_000
"""Of a kind, before anything is known: a second or two on a small server."""

MAX_PIECES = 200_000
"""Of a kind, in any portion: Postgres sorts their sketches on its disk."""

TARGET_SECONDS = 5.0
"""How long a portion should take: long beside the cost of a transaction, short beside its time
limit, even if the next portion costs ten times as much."""


@define
class Portions:
    """The bound of the next portion."""

    pieces: int = FIRST_PIECES

    def folded(self, seconds: float, *, full: bool) -> None:
        """A portion took so long; ``full`` says that it had as many pieces as it may have."""
        if seconds > TARGET_SECONDS:
            self.pieces = max(1, int(self.pieces * TARGET_SECONDS / seconds))
        elif full and seconds < TARGET_SECONDS / 2:
            self.pieces = min(MAX_PIECES, 2 * self.pieces)

    def failed(self) -> None:
        """A portion failed, perhaps as too large: the next has half the pieces, at least one.

        A minute's pieces are never parted, so one piece is a minute.
        """
        self.pieces = max(1, self.pieces // 2)
