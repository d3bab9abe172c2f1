"""Runs ``aegisd top``: on a terminal until a key ends it, else one screen as plain text."""

import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import trio

from aegisd.cli.top.api import Metrics
from aegisd.cli.top.cells import Line, plain
from aegisd.cli.top.screen import View, render
from aegisd.cli.top.subscription import NoConnection, Subscription
from aegisd.cli.top.target import Target, find_target
from aegisd.cli.top.terminal import SIZE_WITHOUT_TERMINAL, Terminal
from aegisd.errors import AegisdError

QUIT = b"q"
HINT = "q quits"
KEY_BYTES = 1024

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALS = (*_END_SIGNALS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


def show_live_view(url: str | None, config: Path | None) -> None:
    """Show the daemon until ``q``. Raises AegisdError where it was never reached."""
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
    interactive = Terminal.usable()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.run)
        while subscription.metrics is None or not (interactive or subscription.alerts_asked):
            await changes.wait()
        if interactive:
            await InteractiveView(target, subscription, changes).run()
        else:
            view = _view(target, subscription, subscription.metrics)
            _print(render(view, *SIZE_WITHOUT_TERMINAL))
        nursery.cancel_scope.cancel()


def _view(target: Target, subscription: Subscription, metrics: Metrics, hint: str = "") -> View:
    return View(
        target.url,
        metrics,
        subscription.alerts,
        subscription.alerts_notice,
        subscription.notice,
        hint,
    )


def _print(lines: Sequence[Line]) -> None:
    text = "\n".join(map(plain, lines))
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "replace").decode(encoding))


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

    def __init__(self, target: Target, subscription: Subscription, changes: ChangeSignal) -> None:
        self._target = target
        self._subscription = subscription
        self._changes = changes
        self._terminal = Terminal()

    async def run(self) -> None:
        """Draw at each change, until the end."""
        try:
            with trio.open_signal_receiver(*_SIGNALS) as signals, self._terminal.taken():
                async with trio.open_nursery() as nursery:
                    end = nursery.cancel_scope.cancel
                    nursery.start_soon(self._draw)
                    nursery.start_soon(self._handle_signals, signals, end)
                    if self._terminal.keys is not None:
                        nursery.start_soon(self._read_keys, self._terminal.keys, end)
        except* (OSError, termios.error):
            pass  # the terminal is gone

    async def _draw(self) -> None:
        while True:
            metrics = self._subscription.metrics
            if metrics is not None:
                view = _view(self._target, self._subscription, metrics, self._hint)
                self._terminal.draw(render(view, *self._terminal.size))
            await self._changes.wait()

    @property
    def _hint(self) -> str:
        return HINT if self._terminal.keys is not None else ""

    async def _handle_signals(self, signals: AsyncIterator[int], end: Callable[[], None]) -> None:
        async for number in signals:
            if number in _END_SIGNALS:
                end()
            elif number == signal.SIGTSTP:  # Ctrl-Z: the shell has its screen until SIGCONT
                self._terminal.leave()
                os.kill(os.getpid(), signal.SIGSTOP)
            elif number == signal.SIGCONT:
                self._terminal.enter()
            self._changes.notify()

    async def _read_keys(self, keys: int, end: Callable[[], None]) -> None:
        while True:
            await trio.lowlevel.wait_readable(keys)
            pressed = os.read(keys, KEY_BYTES)
            if not pressed or QUIT in pressed.lower():  # no bytes: the terminal hung up
                end()
                return
