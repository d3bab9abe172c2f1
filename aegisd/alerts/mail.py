"""Sends a letter: smtplib in a thread, over a connection that the loop makes and can end.

A server that drips defeats every time-out of a socket, and a thread can't be cancelled. So when
whoever sends is cancelled, the connection is shut down: what the thread waits for then ends.
"""

import os
import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage

import trio

from aegisd.config.settings import EmailAction
from aegisd.threads import in_thread

_DEFAULT_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def port_of(action: EmailAction) -> int:
    """The configured port, or what is usual."""
    return action.port or _DEFAULT_PORTS[action.security]


async def send_mail(action: EmailAction, letter: EmailMessage) -> None:
    """Send a letter. Raises OSError and SMTPException; ValueError where an address can't be sent.

    It has no deadline of its own.
    """
    problem: Exception | None = None
    async with await _connected(action) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_shut_down_at_the_end, stream)
        try:
            await in_thread(_speak, stream.socket.fileno(), action, letter)
        except Exception as error:  # out of the nursery it would come in a group
            problem = error
        nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem


async def _connected(action: EmailAction) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(action.host, port_of(action))
    except socket.gaierror:
        raise
    except OSError as error:  # trio's texts name the address
        cause = error.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        number = getattr(cause, "errno", None)
        raise OSError(os.strerror(number) if number else "no connection") from None


async def _shut_down_at_the_end(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with suppress(OSError):  # the server was quicker
            stream.socket.shutdown(socket.SHUT_RDWR)


class _Smtp(smtplib.SMTP):
    """Speaks over a connection that is there already.

    It gives no name that would have to be looked up: a resolver may not answer.
    """

    def __init__(self, connected: socket.socket, host: str, port: int) -> None:
        self._connected = connected
        super().__init__(host, port, local_hostname=_own_name(connected))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del host, port, timeout
        return self._connected


def _own_name(connected: socket.socket) -> str:
    """Our host's name where it has a domain, else our address as a literal (RFC 5321, 4.1.4)."""
    name = socket.gethostname()
    if "." in name:
        return name
    address = connected.getsockname()[0].partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _speak(descriptor: int, action: EmailAction, letter: EmailMessage) -> None:
    context = ssl.create_default_context()
    connected = socket.socket(fileno=os.dup(descriptor))
    with connected:
        connected.setblocking(True)
        if action.security == "tls":
            connected = context.wrap_socket(connected, server_hostname=action.host)
        with connected, _Smtp(connected, action.host, port_of(action)) as server:
            if action.security == "starttls":
                server.starttls(context=context)
            if action.username:
                server.login(action.username, action.password)
            server.send_message(letter)
