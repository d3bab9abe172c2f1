"""A TCP port in front of Postgres' Unix socket, with TLS too: the embedded one has neither."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from aegisd.config.libpq import conninfo

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class Certificates:
    """An authority, its certificates for 127.0.0.1 and for a client, and its revocation list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.key = folder / "ca.crt", folder / "ca.key"
        self.revoked = folder / "revoked.pem"
        new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        self._openssl(f"req -x509 {new_key} -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt")
        for name, key in (("server", "-nodes"), ("client", "-passout pass:opensesame")):
            self._openssl(
                f"req -x509 {new_key} {key} -days 2 -subj /CN={name} -CA ca.crt -CAkey ca.key"
                f" -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
                f" -keyout {name}.key -out {name}.crt",
            )
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text("[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\n")
        self._openssl(
            "ca -config ca.cnf -gencrl -crldays 2 -md sha256 -cert ca.crt -keyfile ca.key"
            " -out revoked.pem",
        )

    def _openssl(self, command: str) -> None:
        words = ["openssl", *command.split()]
        subprocess.run(words, cwd=self.folder, check=True, capture_output=True)

    def context(self) -> ssl.SSLContext:
        """TLS that asks each client for a certificate of the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        context.load_verify_locations(self.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["postgresql"])
        return context


@asynccontextmanager
async def entrance(dsn: str, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Yield a TCP port that leads to the server of ``dsn``."""
    async with trio.open_nursery() as nursery:
        host = dict(conninfo.parse(dsn))["host"]
        serve = partial(_serve, f"{host}/.s.PGSQL.5432", context)
        listeners = await nursery.start(
            partial(trio.serve_tcp, serve, 0, host="127.0.0.1", handler_nursery=nursery)
        )
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _serve(path: str, context: ssl.SSLContext | None, client: trio.SocketStream) -> None:
    stream: trio.abc.Stream = client
    if context is not None:
        if await client.socket.recv(8, trio.socket.MSG_PEEK) == SSL_REQUEST:
            await client.receive_some(8)
            await client.send_all(b"S")
        stream = trio.SSLStream(client, context, server_side=True, https_compatible=True)
    try:
        async with await trio.open_unix_socket(path) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_relay, stream, server, nursery.cancel_scope)
            nursery.start_soon(_relay, server, stream, nursery.cancel_scope)
    finally:
        await trio.aclose_forcefully(stream)


async def _relay(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass  # a client that gives up ends its side, too
    scope.cancel()
