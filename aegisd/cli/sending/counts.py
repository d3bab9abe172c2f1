"""Counts what a run of ``send`` or ``import`` sent, and what failed for which reason."""

import sys
from collections import Counter
from enum import Enum

from attrs import Factory, define

from aegisd.cli.printable import clean
from aegisd.cli.sending.rejects import Rejects

MAX_SHOWN = 5
"""Lines that are shown of each kind of failure; a log may have thousands, most of them alike."""


class Failure(Enum):
    """Why the daemon has not taken a line's event."""

    UNREADABLE = "could not be read"
    UNSENT = "could not be sent"
    REJECTED = "rejected"


@define
class SendCounts:
    """Counts events and failed lines, and shows the first failures on standard error."""

    sent: int = 0
    failed: Counter[Failure] = Factory(Counter)

    def count_failure(self, failure: Failure, line: int, why: str) -> None:
        """Count the line with this number as failed."""
        self.failed[failure] += 1
        if self.failed[failure] <= MAX_SHOWN:
            print(clean(f"line {line} {why}"), file=sys.stderr)

    def count_sent(self, lines: list[int], rejects: Rejects) -> None:
        """Count the events of these lines as sent, and those in ``rejects`` as rejected."""
        self.sent += len(lines)
        for index, why in rejects.listed:
            self.count_failure(Failure.REJECTED, lines[index], f"was rejected: {why}")
        self.failed[Failure.REJECTED] += rejects.count - len(rejects.listed)

    @property
    def complete(self) -> bool:
        """Whether nothing failed."""
        return not self.failed.total()

    def summary(self, sent: str) -> str:
        """All counts in a line; ``sent`` is the sender's word for its events."""
        text = (
            f"{self.sent} events {sent}, "
            f"{self.failed[Failure.UNREADABLE]} lines {Failure.UNREADABLE.value}"
        )
        for failure in (Failure.UNSENT, Failure.REJECTED):
            if self.failed[failure]:
                text += f", {self.failed[failure]} {failure.value}"
        return text
