"""A progress bar on standard error, where that is a terminal."""

import sys
import time
from typing import IO

WIDTH = 30
REDRAW_SECONDS = 0.2


class ProgressBar:
    """How much of a file has been read. ``read`` is in bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = 0
        self._drawn_at = 0.0
        self._total = 0
        self._on = sys.stderr.isatty()
        if self._on and file.seekable():
            here = file.tell()
            self._total = file.seek(0, 2)
            file.seek(here)

    def show(self) -> None:
        """Draw the bar, at most every 0.2 s."""
        now = time.monotonic()
        if self._on and now - self._drawn_at >= REDRAW_SECONDS:
            self._drawn_at = now
            share = self.read / self._total if self._total else 0.0
            bar = "#" * round(share * WIDTH)
            print(f"\r[{bar:<{WIDTH}}] {share:4.0%}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the bar."""
        if self._on:
            print("\r" + " " * (WIDTH + 8) + "\r", end="", file=sys.stderr, flush=True)
