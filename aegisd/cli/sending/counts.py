"""What became of a run's events: how many were sent, and what was lost for which reason."""

import sys
from collections import Counter
from enum import Enum

from attrs import Factory, define

from aegisd.cli.sending.rejects import Rejects
from aegisd.cli.top.cells import clean

MAX_SHOWN = 5
"""Lines that are shown of each kind of loss; a log may have thousands, much alike."""


class Loss(Enum):
    """Why a line is not among what was taken."""

    UNREAD = "could not be read"
    UNSENT = "could not be sent"
    REJECTED = "rejected"


@define
class Tally:
    """Counts events and lost lines, and shows the first of these on standard error."""

    sent: int = 0
    lost: Counter[Loss] = Factory(Counter)

    def lose(self, loss: Loss, line: int, why: str) -> None:
        """The line with this number is lost."""
        self.lost[loss] += 1
        if self.lost[loss] <= MAX_SHOWN:
            print(clean(f"line {line} {why}"), file=sys.stderr)

    def send(self, lines: list[int], rejects: Rejects) -> None:
        """The events of these lines were sent, and so many of them rejected."""
        self.sent += len(lines)
        for index, why in rejects.listed:
            self.lose(Loss.REJECTED, lines[index], f"was rejected: {why}")
        self.lost[Loss.REJECTED] += rejects.count - len(rejects.listed)

    @property
    def whole(self) -> bool:
        """Whether nothing is lost."""
        return not self.lost.total()

    def summary(self, sent: str) -> str:
        """All counts; ``sent`` says how the events went."""
        text = f"{self.sent} events {sent}, {self.lost[Loss.UNREAD]} lines {Loss.UNREAD.value}"
        for loss in (Loss.UNSENT, Loss.REJECTED):
            if self.lost[loss]:
                text += f", {self.lost[loss]} {loss.value}"
        return text
