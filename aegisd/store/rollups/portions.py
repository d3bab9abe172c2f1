"""How many pieces are folded at once: as many as take some seconds. Pure.

What a piece costs is not known ahead: it depends on the server, on the nodes, on how full the
levels are, on compressed chunks. So it goes by how long the last portion took.
"""

from attrs import define

FIRST_PIECES = 20_000
"""Of a kind, before anything is known: a second or two on a small server."""

MAX_PIECES = 200_000
"""Of a kind that are ever folded at once: their sketches are sorted on the server's disk."""

TARGET_SECONDS = 5.0
"""What a portion shall take: long beside the price of a transaction, short beside its time limit,
also where the next one is ten times as dear."""


@define
class Portions:
    """The bound of the next portion."""

    pieces: int = FIRST_PIECES

    def folded(self, seconds: float, *, full: bool) -> None:
        """A portion took so long; ``full`` says that it reached the bound."""
        if seconds > TARGET_SECONDS:
            self.pieces = max(1, int(self.pieces * TARGET_SECONDS / seconds))
        elif full and seconds < TARGET_SECONDS / 2:
            self.pieces = min(MAX_PIECES, 2 * self.pieces)

    def failed(self) -> None:
        """It may have been too much: half of it is tried next, down to a single minute's pieces."""
        self.pieces = max(1, self.pieces // 2)
