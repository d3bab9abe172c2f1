"""A proxy in front of Postgres that can stall, cut connections and restore them."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import trio

SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Relays bytes between clients of ``dsn`` and the real server."""

    def __init__(self, dsn: str, folder: Path) -> None:
        match = re.search(r"host=([^&]+)", dsn)
        assert match is not None
        self._server = match[1] + "/" + SOCKET
        self._file = folder / SOCKET
        self.dsn = dsn.replace(match[1], quote(str(folder)))
        self._flowing = trio.Event()
        self._flowing.set()
        self._refusing = False
        self._cut_texts: list[bytes] = []
        self._delivered = self._cut_at_answer = False
        self._clients: set[trio.CancelScope] = set()
        self.connections = 0

    def stall(self) -> None:
        """Accept connections and bytes, and relay nothing."""
        self._flowing = trio.Event()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._refusing = True
        for scope in self._clients:
            scope.cancel()

    def cut_at(self, *texts: bytes, delivered: bool) -> None:
        """End all connections when a client has sent these texts, one after the other.

        With ``delivered`` the server gets the last one and answers, and the answer is lost. Without
        it the server does not get the last one.
        """
        self._cut_texts, self._delivered = list(texts), delivered

    def restore(self) -> None:
        self._refusing = False
        self._flowing.set()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        listening = trio.socket.socket(trio.socket.AF_UNIX)
        await listening.bind(str(self._file))
        listening.listen(50)
        with listening:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    client, _ = await listening.accept()
                    if self._refusing:
                        client.close()
                        continue
                    self.connections += 1
                    nursery.start_soon(self._client, client)

    async def _client(self, client: trio.socket.SocketType) -> None:
        server = trio.socket.socket(trio.socket.AF_UNIX)
        with client, server, trio.CancelScope() as scope, suppress(OSError):
            self._clients.add(scope)
            try:
                await server.connect(self._server)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._relay_from_client, client, server, scope)
                    nursery.start_soon(self._relay_from_server, server, client, scope)
            except* (OSError, trio.BrokenResourceError):
                pass  # either side may go at any time
            finally:
                self._clients.discard(scope)

    async def _relay_from_client(
        self,
        client: trio.socket.SocketType,
        server: trio.socket.SocketType,
        scope: trio.CancelScope,
    ) -> None:
        while data := await client.recv(65536):
            await self._flowing.wait()
            if self._cut_texts and self._cut_texts[0] in data:
                del self._cut_texts[0]
                if not self._cut_texts and not self._delivered:
                    self.cut()
                    return
                self._cut_at_answer = not self._cut_texts
            await trio.SocketStream(server).send_all(data)
        scope.cancel()

    async def _relay_from_server(
        self,
        source: trio.socket.SocketType,
        sink: trio.socket.SocketType,
        scope: trio.CancelScope,
    ) -> None:
        while data := await source.recv(65536):
            await self._flowing.wait()
            if self._cut_at_answer:
                self._cut_at_answer = False
                self.cut()
                return
            await trio.SocketStream(sink).send_all(data)
        scope.cancel()


@asynccontextmanager
async def proxied(dsn: str, folder: Path) -> AsyncIterator[Proxy]:
    proxy = Proxy(dsn, folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
    os.unlink(folder / SOCKET)
