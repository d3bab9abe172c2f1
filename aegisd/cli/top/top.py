"""``aegisd top``: the live view in a terminal, or once as plain text where there is none."""

import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import trio

from aegisd.cli.top.cells import Line, plain
from aegisd.cli.top.feed import Feed, Lost
from aegisd.cli.top.figures import Metrics
from aegisd.cli.top.screen import View, render
from aegisd.cli.top.target import Target, find
from aegisd.cli.top.terminal import SIZE_WITHOUT_TERMINAL, Terminal
from aegisd.errors import AegisdError

QUIT = b"q"
HINT = "q quits"
KEY_BYTES = 1024

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNALS = (*_ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


def top(url: str | None, config: Path | None) -> None:
    """Watch the daemon until ``q``. Raises AegisdError where it was never reached."""
    target = find(url, config)
    try:
        trio.run(_show, target)
    except* Lost as group:
        raise AegisdError(
            f"can't watch {target.url}: {_first(group)}; start aegisd, or name it with --url"
        ) from None


def _first(group: BaseExceptionGroup[Lost]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _show(target: Target) -> None:
    news = News()
    feed = Feed(target, news.tell)
    interactive = Terminal.usable()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.follow)
        while feed.metrics is None or not (interactive or feed.alerts_asked):
            await news.wait()
        if interactive:
            await Watch(target, feed, news).run()
        else:
            _print(render(_view(target, feed, feed.metrics), *SIZE_WITHOUT_TERMINAL))
        nursery.cancel_scope.cancel()


def _view(target: Target, feed: Feed, metrics: Metrics, hint: str = "") -> View:
    return View(target.url, metrics, feed.alerts, feed.alerts_notice, feed.notice, hint)


def _print(lines: Sequence[Line]) -> None:
    text = "\n".join(map(plain, lines))
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "replace").decode(encoding))


class News:
    """Tells one waiter that there is something new."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        """There is something new."""
        self._event.set()

    async def wait(self) -> None:
        """Until there is something new."""
        await self._event.wait()
        self._event = trio.Event()


class Watch:
    """The view on a terminal, until a key or a signal ends it, or the terminal is gone."""

    def __init__(self, target: Target, feed: Feed, news: News) -> None:
        self._target = target
        self._feed = feed
        self._news = news
        self._terminal = Terminal()

    async def run(self) -> None:
        """Draw what is new, until the end."""
        try:
            with trio.open_signal_receiver(*_SIGNALS) as signals, self._terminal.taken():
                async with trio.open_nursery() as nursery:
                    end = nursery.cancel_scope.cancel
                    nursery.start_soon(self._draw)
                    nursery.start_soon(self._heed, signals, end)
                    if self._terminal.keys is not None:
                        nursery.start_soon(self._listen, self._terminal.keys, end)
        except* (OSError, termios.error):
            pass  # the terminal is gone

    async def _draw(self) -> None:
        while True:
            if self._feed.metrics is not None:
                view = _view(self._target, self._feed, self._feed.metrics, self._hint)
                self._terminal.draw(render(view, *self._terminal.size))
            await self._news.wait()

    @property
    def _hint(self) -> str:
        return HINT if self._terminal.keys is not None else ""

    async def _heed(self, signals: AsyncIterator[int], end: Callable[[], None]) -> None:
        async for number in signals:
            if number in _ENDS:
                end()
            elif number == signal.SIGTSTP:  # Ctrl-Z: the shell gets its screen meanwhile
                self._terminal.leave()
                os.kill(os.getpid(), signal.SIGSTOP)
            elif number == signal.SIGCONT:
                self._terminal.enter()
            self._news.tell()

    async def _listen(self, keys: int, end: Callable[[], None]) -> None:
        while True:
            await trio.lowlevel.wait_readable(keys)
            pressed = os.read(keys, KEY_BYTES)
            if not pressed or QUIT in pressed.lower():  # nothing: the terminal hung up
                end()
                return
