"""The terminal that the live view takes over, and restores at its end."""

import os
import select
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from aegisd.cli.top.cells import Line, ansi

SIZE_WITHOUT_TERMINAL = (80, 24)

# xterm's alternate screen; cursor hidden; no wrapping, so that each line stays one row
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_TO_ROW = "\x1b[{};1H"
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"

_IFLAG, _LFLAG, _CC = 0, 3, 6  # in what termios.tcgetattr returns


class Terminal:
    """Standard output as a screen. ``keys`` is standard input, or None where it is no terminal."""

    def __init__(self) -> None:
        self._out = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding
        self._color = not os.environ.get("NO_COLOR")
        self._entered = False
        self._mode: list[Any] | None = None
        self.keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None

    @staticmethod
    def usable() -> bool:
        """Whether standard output is a terminal that knows escape sequences."""
        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    @property
    def size(self) -> tuple[int, int]:
        """The current columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            return SIZE_WITHOUT_TERMINAL
        # a terminal of unknown size, such as a serial line, reports 0
        return columns or SIZE_WITHOUT_TERMINAL[0], rows or SIZE_WITHOUT_TERMINAL[1]

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Holds the screen for as long as the block lasts."""
        try:
            self.enter()
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Take the screen, also after ``leave``. Keys arrive at once and are not echoed."""
        if self.keys is not None:
            if self._mode is None:
                self._mode = termios.tcgetattr(self.keys)
            mode = termios.tcgetattr(self.keys)
            mode[_IFLAG] &= ~termios.IXON  # Ctrl-S would block the program's writes
            mode[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
            mode[_CC][termios.VMIN], mode[_CC][termios.VTIME] = 1, 0
            termios.tcsetattr(self.keys, termios.TCSANOW, mode)
        self._entered = True
        self._write(_ENTER)

    def leave(self) -> None:
        """Restore the screen; does nothing where the terminal is gone."""
        if not self._entered:
            return
        self._entered = False
        with suppress(OSError):
            self._write(_LEAVE)
        if self.keys is not None and self._mode is not None:
            with suppress(termios.error):
                termios.tcsetattr(self.keys, termios.TCSANOW, self._mode)
            self._mode = None

    def draw(self, lines: Sequence[Line]) -> None:
        """Show only these lines. Raises OSError where the terminal is gone."""
        if self._entered:
            rows = [
                _TO_ROW.format(row) + ansi(line, self._color) + _ERASE_LINE
                for row, line in enumerate(lines, 1)
            ]
            below = _TO_ROW.format(len(lines) + 1) + _ERASE_BELOW
            self._write("".join(rows) + (below if len(lines) < self.size[1] else ""))

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        while data:
            try:
                data = data[os.write(self._out, data) :]
            except BlockingIOError:  # another process on the terminal set O_NONBLOCK
                select.select([], [self._out], [])
