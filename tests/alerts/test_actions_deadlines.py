"""Actions end in time, and delay neither the journal nor each other."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from alerts.servers import http_server
from alerts.test_actions import ALERT
from alerts.test_mail import mail
from attrs import define
from store.cluster import bounded
from store.databases import eventually
from store.journals import add, opened

from aegisd.alerts import actions
from aegisd.alerts.actions import ActionFailed, perform
from aegisd.store.journal.sync_schedule import Sync

TRIO_THREADS = 40


@define
class Dripping:
    """An SMTP server whose greeting never ends."""

    port: int
    clients: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.clients += 1
        with suppress(trio.BrokenResourceError):  # the client gave up
            while True:
                await stream.send_all(b"220-wait\r\n")
                await trio.sleep(0.02)
        self.clients -= 1


@asynccontextmanager
async def dripping() -> AsyncIterator[Dripping]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Dripping(listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def fail(port: int) -> None:
    with pytest.raises(ActionFailed):
        await perform(mail(port), ALERT)


@bounded
async def test_journal_syncs_beside_more_slow_mails_than_trio_has_threads(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as journal:
        async with dripping() as server, trio.open_nursery() as nursery:
            for _ in range(TRIO_THREADS + 5):
                nursery.start_soon(fail, server.port)
            await eventually(lambda: server.clients >= TRIO_THREADS)
            add(journal, b"entry")
            await Sync(journal, 0.01).once()
            assert journal.records_synced == journal.records_appended
            nursery.cancel_scope.cancel()


@bounded
async def test_slow_mail_server_times_out_and_its_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_SECONDS", 0.3)
    async with dripping() as server:
        with pytest.raises(ActionFailed, match=r"^no answer within 0.3 s$"):
            await perform(mail(server.port), ALERT)
        await eventually(lambda: server.clients == 0)
    assert not [thread.name for thread in threading.enumerate() if "_send_blocking" in thread.name]


@pytest.mark.parametrize(
    ("status", "after", "pause"),
    [
        (429, "7", 7),
        (429, None, actions.PAUSE_SECONDS),
        (503, "7", 7),
        (500, None, actions.PAUSE_SECONDS),
        (429, "99999999999999999999", actions.LONGEST_PAUSE_SECONDS),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", actions.PAUSE_SECONDS),  # over
        (429, "soon", actions.PAUSE_SECONDS),
        (429, "-1", actions.PAUSE_SECONDS),
        (404, "7", None),
    ],
)
@bounded
async def test_retry_after_sets_the_pause(
    status: int, after: str | None, pause: float | None
) -> None:
    async with http_server() as server:
        server.status, server.retry_after = status, after
        with pytest.raises(ActionFailed, match=f"^answered with status {status}$") as caught:
            await perform(actions.SlackAction(webhook_url=server.url), ALERT)
    assert caught.value.again_after == pause
