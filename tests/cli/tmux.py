"""A real terminal for tests: a program in a tmux of its own."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from support import wait_until

WAIT_SECONDS = 30
EXIT_FILE = "exit"


def program() -> str | None:
    """tmux, where there is one."""
    return shutil.which("tmux")


class Terminal:
    """A program on a terminal, whose screen is read and whose keys are pressed."""

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        environment: dict[str, str],
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._socket = directory / "tmux"
        self._exit = directory / EXIT_FILE
        self._pid = directory / "pid"
        self._before, self._after = directory / "before", directory / "after"
        # what the program leaves behind can be looked at: the shell stays after its end
        script = (
            f"stty -a >{shlex.quote(str(self._before))};"
            f" (echo $BASHPID >{shlex.quote(str(self._pid))}; exec {shlex.join(command)});"
            f" code=$?; stty -a >{shlex.quote(str(self._after))};"
            f" echo $code >{shlex.quote(str(self._exit))}; exec sleep 600"
        )
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows)),
            *("--", "bash", "-c", script),
            environment={"TERM": "xterm-256color", **environment},
        )

    def _tmux(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [program() or "", "-S", str(self._socket), *arguments],
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=True,
            timeout=WAIT_SECONDS,
        )
        return done.stdout

    @property
    def rows(self) -> list[str]:
        """The screen's lines."""
        return self._tmux("capture-pane", "-p").split("\n")[:-1]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def styled(self) -> str:
        """The screen with its styles as escape sequences."""
        return self._tmux("capture-pane", "-p", "-e")

    def tells(self, format_: str) -> str:
        """What tmux knows of the terminal, by one of its formats."""
        return self._tmux("display-message", "-p", f"#{{{format_}}}").strip()

    @property
    def is_open(self) -> bool:
        """Whether the program has the screen."""
        return (self.tells("alternate_on"), self.tells("cursor_flag")) == ("1", "0")

    @property
    def pid(self) -> int:
        """The program's."""
        return int(self._pid.read_text())

    @property
    def is_restored(self) -> bool:
        """Whether screen, cursor and, after the program's end, the modes are as they were."""
        screen = (self.tells("alternate_on"), self.tells("cursor_flag"), self.tells("wrap_flag"))
        modes_kept = not self._after.exists() or self._after.read_text() == self._before.read_text()
        return screen == ("0", "1", "1") and modes_kept

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, ask: Callable[[], object], what: str) -> None:
        try:
            wait_until(ask, what, WAIT_SECONDS)
        except AssertionError as error:
            error.add_note(self.text)
            raise

    def shows(self, text: str) -> None:
        self.wait_for(lambda: text in self.text, f"{text!r} is shown")

    def end(self) -> int:
        """Wait until the program ends by itself; return its exit code."""
        self.wait_for(lambda: self._exit.exists() and self._exit.read_text(), "it ends")
        return int(self._exit.read_text())

    def close(self) -> None:
        """End the terminal, as one does who closes its window."""
        subprocess.run(
            [program() or "", "-S", str(self._socket), "kill-server"],
            capture_output=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
