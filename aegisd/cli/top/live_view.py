"""Runs ``aegisd top``: on a terminal until a key ends it, else one screen as plain text."""

import codecs
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

import trio
from rich.console import Console
from rich.live import Live

from aegisd.cli.top.api import Metrics
from aegisd.cli.top.controls import Controls
from aegisd.cli.top.screen import View, render
from aegisd.cli.top.subscription import NoConnection, Subscription
from aegisd.cli.top.target import Target, find_target
from aegisd.errors import AegisdError

PLAIN_COLUMNS, PLAIN_ROWS = 80, 24
KEY_BYTES = 1024

SIZE_VARIABLES = ("COLUMNS", "LINES")
"""A shell may export them. rich would take the size from there, also after a resize."""

# xterm's wrapping off: a name whose cells the terminal counts differently stays in its row
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALS = (*_END_SIGNALS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


def show_live_view(url: str | None, config: Path | None) -> None:
    """Show the daemon until ``q``. Raises AegisdError where it was never reached."""
    for name in SIZE_VARIABLES:
        os.environ.pop(name, None)
    if isinstance(sys.stdout, TextIOWrapper):  # what an encoding lacks becomes "?"
        sys.stdout.reconfigure(errors="replace")
    target = find_target(url, config)
    try:
        trio.run(_show, target)
    except* NoConnection as group:
        raise AegisdError(
            f"can't watch {target.url}: {_first(group)}; start aegisd, or name it with --url"
        ) from None


def _first(group: BaseExceptionGroup[NoConnection]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _show(target: Target) -> None:
    changes = ChangeSignal()
    subscription = Subscription(target, changes.notify)
    console = Console(highlight=False)
    interactive = console.is_terminal and not console.is_dumb_terminal
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.run)
        while subscription.metrics is None or not (interactive or subscription.alerts_asked):
            await changes.wait()
        if interactive:
            await InteractiveView(console, target, subscription, changes).run()
        else:
            _print(_view(target, subscription, subscription.metrics))
        nursery.cancel_scope.cancel()


def _view(
    target: Target,
    subscription: Subscription,
    metrics: Metrics,
    controls: Controls | None = None,
) -> View:
    return View(
        target.url,
        metrics,
        subscription.alerts,
        subscription.alerts_notice,
        subscription.notice,
        controls or Controls(),
        keys=controls is not None,
    )


def _print(view: View) -> None:
    console = Console(width=PLAIN_COLUMNS, height=PLAIN_ROWS, color_system=None, highlight=False)
    with console.capture() as printed:
        console.print(render(view, PLAIN_COLUMNS, PLAIN_ROWS))
    print("\n".join(line.rstrip() for line in printed.get().rstrip().split("\n")))


class ChangeSignal:
    """Wakes one waiting task, as often as something changed."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        """Wake the waiter, now or at its next ``wait``."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until ``notify`` was called since the last ``wait``."""
        await self._event.wait()
        self._event = trio.Event()


class InteractiveView:
    """The view on a terminal, until a key or a signal ends it, or the terminal is gone."""

    def __init__(
        self, console: Console, target: Target, subscription: Subscription, changes: ChangeSignal
    ) -> None:
        self._console = console
        self._target = target
        self._subscription = subscription
        self._changes = changes
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._keyboard = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else None
        self._controls = Controls()

    async def run(self) -> None:
        """Draw at each change, until the end."""
        try:
            with trio.open_signal_receiver(*_SIGNALS) as signals, self._taken():
                async with trio.open_nursery() as nursery:
                    end = nursery.cancel_scope.cancel
                    nursery.start_soon(self._draw)
                    nursery.start_soon(self._handle_signals, signals, end)
                    if self._keyboard is not None:
                        nursery.start_soon(self._read_keys, self._keyboard, end)
        except* (OSError, termios.error):
            pass  # the terminal is gone

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """Hold the screen and the keyboard for as long as the block lasts."""
        mode = None if self._keyboard is None else termios.tcgetattr(self._keyboard)
        try:
            self._take()
            yield
        finally:
            self._give_back(mode)

    def _take(self) -> None:
        if self._keyboard is not None:
            tty.setcbreak(self._keyboard, termios.TCSANOW)
            flags = termios.tcgetattr(self._keyboard)
            flags[tty.IFLAG] &= ~termios.IXON  # Ctrl-S would block what we write
            termios.tcsetattr(self._keyboard, termios.TCSANOW, flags)
        self._live.start()
        self._write(_WRAP_OFF)

    def _give_back(self, mode: "termios._AttrReturn | None") -> None:
        with suppress(OSError):
            self._write(_WRAP_ON)
            self._live.stop()
        if self._keyboard is not None and mode is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSANOW, mode)

    def _write(self, sequence: str) -> None:
        self._console.file.write(sequence)
        self._console.file.flush()

    async def _draw(self) -> None:
        while True:
            metrics = self._subscription.metrics
            if metrics is not None and self._live.is_started:
                controls = None if self._keyboard is None else self._controls
                view = _view(self._target, self._subscription, metrics, controls)
                columns, rows = self._console.size
                self._live.update(render(view, columns, rows), refresh=True)
            await self._changes.wait()

    async def _handle_signals(self, signals: AsyncIterator[int], end: Callable[[], None]) -> None:
        mode = None if self._keyboard is None else termios.tcgetattr(self._keyboard)
        async for number in signals:
            if number in _END_SIGNALS:
                end()
            elif number == signal.SIGTSTP:  # Ctrl-Z: the shell has its screen until SIGCONT
                self._give_back(mode)
                os.kill(os.getpid(), signal.SIGSTOP)
            elif number == signal.SIGCONT and not self._live.is_started:
                self._take()
            self._changes.notify()

    async def _read_keys(self, keyboard: int, end: Callable[[], None]) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while True:
            await trio.lowlevel.wait_readable(keyboard)
            pressed = os.read(keyboard, KEY_BYTES)
            self._controls = self._controls.press(decode(pressed))
            if not pressed or self._controls.quit:  # no bytes: the terminal hung up
                end()
                return
            self._changes.notify()
