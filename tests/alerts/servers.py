"""Servers of the tests' own on loopback: HTTP that notes what it is sent, and SMTP."""

import base64
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import h11
import trio
from attrs import define, field

WAIT_SECONDS = 30


@define
class Received:
    """One request: its headers by lower-case name."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@define
class HttpServer:
    """Answers each request with ``status``, or with None never."""

    port: int
    status: int | None = 200
    retry_after: str | None = None
    received: list[Received] = field(factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/S3CRET"

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        head, body = None, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return
        assert head is not None
        headers = {name.decode(): value.decode() for name, value in head.headers}
        self.received.append(Received(head.method.decode(), head.target.decode(), headers, body))
        if self.status is None:
            await trio.sleep_forever()
        more = [] if self.retry_after is None else [("Retry-After", self.retry_after)]
        answer = h11.Response(
            status_code=self.status, headers=[("Connection", "close"), ("Location", "/else"), *more]
        )
        for event in (answer, h11.Data(data=b"x" * 100), h11.EndOfMessage()):
            await stream.send_all(connection.send(event) or b"")


@asynccontextmanager
async def http_server() -> AsyncIterator[HttpServer]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = HttpServer(listener.socket.getsockname()[1])

        async def session(stream: trio.SocketStream) -> None:
            # clients may leave at any time, also amid what they send
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                await server.serve(stream)

        nursery.start_soon(trio.serve_listeners, session, [listener])
        yield server
        nursery.cancel_scope.cancel()


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that it has signed itself, and its key, in one file."""
    file = folder / "both.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out crt.pem",
        shell=True,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    file.write_text((folder / "key.pem").read_text() + (folder / "crt.pem").read_text())
    return file


@define
class SmtpServer:
    """Speaks as much SMTP as a letter needs, to one client, in a thread."""

    listening: socket.socket
    tls: ssl.SSLContext | None = None
    tls_at_once: bool = False
    login: tuple[str, str] | None = None
    silent: bool = False
    letters: list[str] = field(factory=list)
    commands: list[str] = field(factory=list)
    encrypted: list[bool] = field(factory=list)  # for each letter

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def run(self) -> None:
        # the test is over, or the client has gone
        with suppress(OSError), ExitStack() as stack:
            connection = stack.enter_context(self.listening.accept()[0])
            connection.settimeout(WAIT_SECONDS)
            if self.silent:
                connection.recv(1)
                return
            if self.tls is not None and self.tls_at_once:
                connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
            self.talk(connection, stack)

    def talk(self, connection: socket.socket, stack: ExitStack) -> None:
        def say(line: str) -> None:
            connection.sendall(line.encode() + b"\r\n")

        say("220 ready")
        lines = stack.enter_context(connection.makefile("rb"))
        while raw := lines.readline():
            command = raw.decode().strip()
            self.commands.append(command)
            word = command.split(":")[0].split()[0].upper()
            if word == "EHLO":
                more = "250-STARTTLS\r\n" if self.tls is not None else ""
                say(f"250-here\r\n{more}250 AUTH PLAIN")
            elif word == "STARTTLS" and self.tls is not None:
                say("220 go on")
                connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
                lines = stack.enter_context(connection.makefile("rb"))
            elif word == "AUTH":
                _, user, password = base64.b64decode(command.split()[2]).decode().split("\0")
                fits = (user, password) == self.login
                say("235 fine" if fits else f"535 not {password}")
            elif word == "DATA":
                say("354 go on")
                letter = b"".join(iter(lines.readline, b".\r\n"))
                self.letters.append(letter.decode())
                self.encrypted.append(isinstance(connection, ssl.SSLSocket))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 fine")


@contextmanager
def smtp_server(
    tls: Path | None = None,
    *,
    tls_at_once: bool = False,
    login: tuple[str, str] | None = None,
    silent: bool = False,
) -> Iterator[SmtpServer]:
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = SmtpServer(listening, context, tls_at_once, login, silent)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown(socket.SHUT_RDWR)  # wakes an accept that still waits
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
