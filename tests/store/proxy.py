"""A proxy of the tests' own in front of Postgres, that can stall, cut and restore."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import trio

SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Passes bytes between clients of ``dsn`` and the real server."""

    def __init__(self, dsn: str, folder: Path) -> None:
        match = re.search(r"host=([^&]+)", dsn)
        assert match is not None
        self._server = match[1] + "/" + SOCKET
        self._file = folder / SOCKET
        self.dsn = dsn.replace(match[1], quote(str(folder)))
        self._moving = trio.Event()
        self._moving.set()
        self._refusing = False
        self._cutting_at: list[bytes] = []
        self._passing = self._cutting_at_answer = False
        self._clients: set[trio.CancelScope] = set()
        self.connections = 0

    def stall(self) -> None:
        """Take bytes and connections, pass nothing on."""
        self._moving = trio.Event()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._refusing = True
        for scope in self._clients:
            scope.cancel()

    def cut_at(self, *texts: bytes, passing: bool) -> None:
        """End all connections when a client has sent these, one after the other.

        With ``passing`` the server gets the last one still and has answered; the answer is lost.
        """
        self._cutting_at, self._passing = list(texts), passing

    def restore(self) -> None:
        self._refusing = False
        self._moving.set()

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
                    nursery.start_soon(self._pass_cutting, client, server, scope)
                    nursery.start_soon(self._pass, server, client, scope)
            except* (OSError, trio.BrokenResourceError):
                pass  # either side may go at any time
            finally:
                self._clients.discard(scope)

    async def _pass_cutting(
        self,
        client: trio.socket.SocketType,
        server: trio.socket.SocketType,
        scope: trio.CancelScope,
    ) -> None:
        while data := await client.recv(65536):
            await self._moving.wait()
            if self._cutting_at and self._cutting_at[0] in data:
                del self._cutting_at[0]
                if not self._cutting_at and not self._passing:
                    self.cut()
                    return
                self._cutting_at_answer = not self._cutting_at
            await trio.SocketStream(server).send_all(data)
        scope.cancel()

    async def _pass(
        self,
        source: trio.socket.SocketType,
        sink: trio.socket.SocketType,
        scope: trio.CancelScope,
    ) -> None:
        while data := await source.recv(65536):
            await self._moving.wait()
            if self._cutting_at_answer:
                self._cutting_at_answer = False
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
