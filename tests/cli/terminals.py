"""A terminal for tests: a process on a real pty, and what its screen would show."""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import unicodedata
from collections.abc import Callable
from time import monotonic

WAIT_SECONDS = 30
SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    """Understands what the program may send, and fails at anything else."""

    def __init__(self) -> None:
        self.modes = {"1049": False, "25": True, "7": True}
        self.styles: set[str] = set()
        self.rows: dict[int, str] = {}
        self.draws = 0
        self._row = 0
        self._height = 0
        self._rest = ""

    def resize(self, rows: int) -> None:
        self._height = rows
        self.rows = {r: text for r, text in self.rows.items() if r <= rows}

    def feed(self, text: str) -> None:
        text = self._rest + text
        cut = text.rfind("\x1b")
        whole = cut < 0 or SEQUENCE.match(text, cut) is not None
        text, self._rest = (text, "") if whole else (text[:cut], text[cut:])
        place = 0
        for found in SEQUENCE.finditer(text):
            self._print(text[place : found.start()])
            self._obey(*found.groups())
            place = found.end()
        self._print(text[place:])

    def _print(self, text: str) -> None:
        if self.modes["1049"]:
            assert text.isprintable(), repr(text)
            self.rows[self._row] = self.rows.get(self._row, "") + text

    def _obey(self, private: str, parameters: str, letter: str) -> None:
        match private, letter:
            case "?", "h" | "l":
                assert parameters in self.modes, parameters
                self.modes[parameters] = letter == "h"
            case "", "m":
                self.styles.add(parameters)
            case "", "H":
                row, column = map(int, parameters.split(";"))
                assert column == 1
                self._row = row
                self.draws += row == 1
                if row == 1:  # what an earlier, larger draw wrote late is outside of the screen
                    self.rows = {r: t for r, t in self.rows.items() if r <= self._height}
                self.rows[row] = ""
            case "", "K":
                pass  # the row was begun anew
            case "", "J":
                self.rows = {r: t for r, t in self.rows.items() if r < self._row or not self._row}
            case _:
                raise AssertionError(f"{private}{parameters}{letter}")

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in sorted(self.rows.items()))

    def fits(self, columns: int, rows: int) -> bool:
        """Whether it is as wide as that, and nothing is outside."""
        shown = {row: text for row, text in self.rows.items() if text}
        wide = [cells(text) for text in shown.values()]
        return cells(shown.get(1, "")) == columns == max(wide) and max(shown) <= rows

    @property
    def restored(self) -> bool:
        return self.modes == {"1049": False, "25": True, "7": True}


def cells(text: str) -> int:
    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


class OnTerminal:
    """A program whose controlling terminal is a pty of ours."""

    def __init__(
        self, command: list[str], environment: dict[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self._ours, theirs = os.openpty()
        self._open = True
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.screen = Screen()
        self.resize(columns, rows)
        self.mode = termios.tcgetattr(self._ours)
        # a session's leader without a terminal gets the first one it opens
        shell = 'tty=$1; shift; exec "$@" <>"$tty" >&0 2>&0'
        try:
            self.process = subprocess.Popen(
                ["sh", "-c", shell, "sh", os.ttyname(theirs), *command],
                env={"TERM": "xterm-256color", **environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._theirs = theirs  # kept open, so that the pty outlives the program
        except BaseException:
            os.close(theirs)
            raise

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def wait_for(self, ask: Callable[[Screen], object], what: str) -> None:
        deadline = monotonic() + WAIT_SECONDS
        while not ask(self.screen):
            assert monotonic() < deadline, (
                f"not within {WAIT_SECONDS} s: {what}\n{self.screen.text}"
            )
            self._read(0.1)

    def shows(self, text: str) -> None:
        self.wait_for(lambda screen: text in screen.text, f"{text!r} is shown")

    def end(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        self.wait_for(lambda _: self.process.poll() is not None, "it ends")
        while self._read(0):
            pass
        return self.process.returncode

    @property
    def mode_is_restored(self) -> bool:
        return termios.tcgetattr(self._ours) == self.mode

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._ours], [], [], seconds)
        if readable:
            self.screen.feed(self._decoder.decode(os.read(self._ours, 65536)))
        return bool(readable)

    def hang_up(self) -> None:
        """Close the terminal, as one does who closes its window."""
        os.close(self._theirs)
        os.close(self._ours)
        self._open = False

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(WAIT_SECONDS)
        if self._open:
            os.close(self._ours)
            os.close(self._theirs)
