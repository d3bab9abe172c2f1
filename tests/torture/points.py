"""``python -m torture.points POINT COUNT python -m aegisd …``: a daemon that kills itself.

It runs as it always does, in this process, until it comes to the given point for the COUNTth time:
then SIGKILL. Segments are kept small, so that they are begun and deleted all the time.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import asyncpg
import trio

from aegisd import cli
from aegisd.ingest import stream
from aegisd.store.journal import journal

SEGMENT_BYTES = 32 * 1024

Patch = Callable[["Countdown"], None]


class Countdown:
    """Kills this process when it is called for the ``count``-th time."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> None:
        if self.is_last():
            die()

    def is_last(self) -> bool:
        self.count -= 1
        return self.count == 0


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives SIGKILL")


def before(module: Any, name: str) -> Patch:
    """Before a function of a module is called."""

    def patch(countdown: Countdown) -> None:
        whole = getattr(module, name)

        def cut(*args: Any, **named: Any) -> Any:
            countdown()
            return whole(*args, **named)

        setattr(module, name, cut)

    return patch


def after(module: Any, name: str) -> Patch:
    """When it has done its work."""

    def patch(countdown: Countdown) -> None:
        whole = getattr(module, name)

        def cut(*args: Any, **named: Any) -> Any:
            result = whole(*args, **named)
            countdown()
            return result

        setattr(module, name, cut)

    return patch


def half_written(countdown: Countdown) -> None:
    """Only a part of a record is in the file."""
    writev = os.writev

    def cut(file: int, parts: list[bytes]) -> int:
        if countdown.is_last():
            whole = b"".join(parts)
            os.write(file, whole[: len(whole) * 2 // 3])
            die()
        return writev(file, parts)

    os.writev = cut  # type: ignore[assignment]


def half_begun(countdown: Countdown) -> None:
    """A new segment has only a part of what it begins with."""
    write = os.write

    def cut(file: int, data: bytes) -> int:
        if data[:8] == b"AEGISDJ1" and countdown.is_last():
            write(file, data[: len(data) - 1])
            die()
        return write(file, data)

    os.write = cut  # type: ignore[assignment]


def answering(*, sent: bool) -> Patch:
    """Around the sending of answers on the stream."""

    def patch(countdown: Countdown) -> None:
        whole = stream._send

        async def cut(to: trio.SocketStream, payloads: list[object]) -> None:
            if payloads and not sent:
                countdown()
            await whole(to, payloads)
            if payloads and sent:
                countdown()

        stream._send = cut

    return patch


def copying(countdown: Countdown) -> None:
    """A part of the rows has left for Postgres."""
    whole = asyncpg.Connection.copy_to_table

    async def cut(self: Any, table: str, *, source: AsyncIterator[Any], **named: Any) -> Any:
        async def pieces() -> AsyncIterator[Any]:
            async for piece in source:
                if not countdown.is_last():
                    yield piece
                    continue
                yield bytes(piece)[: len(piece) // 2]
                await asyncio.sleep(0)
                die()

        return await whole(self, table, source=pieces(), **named)

    asyncpg.Connection.copy_to_table = cut


def committing(when: str) -> Patch:
    """Around a COMMIT: before it is sent, when it is on its way, or when it was answered."""

    def patch(countdown: Countdown) -> None:
        whole = asyncpg.Connection.execute

        async def cut(self: Any, sql: str, *args: Any, **named: Any) -> Any:
            dies = sql == "COMMIT" and countdown.is_last()
            if dies and when == "before":
                die()
            answer = asyncio.ensure_future(whole(self, sql, *args, **named))
            if dies and when == "sent":
                for _ in range(3):  # the task begins, and the loop has passed its bytes on
                    await asyncio.sleep(0)
                die()
            await answer
            if dies:
                die()
            return answer.result()

        asyncpg.Connection.execute = cut

    return patch


POINTS: dict[str, Patch] = {
    "before a write": before(os, "writev"),
    "half a record written": half_written,
    "after a write": after(os, "writev"),
    "before a sync": before(os, "fdatasync"),
    "after a sync": after(os, "fdatasync"),
    "before an answer": answering(sent=False),
    "after an answer": answering(sent=True),
    "half a segment begun": half_begun,
    "during COPY": copying,
    "before COMMIT": committing("before"),
    "at COMMIT": committing("sent"),
    "after COMMIT": committing("after"),
    "before a deletion": before(os, "unlink"),
    "after a deletion": after(os, "unlink"),
}
"""Where a daemon may be killed."""


def main() -> int:
    name, count, _python, _m, _aegisd, *arguments = sys.argv[1:]
    journal.SEGMENT_BYTES = SEGMENT_BYTES
    if name in POINTS:
        POINTS[name](Countdown(int(count)))
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
