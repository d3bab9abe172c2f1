"""Sends a mail: smtplib in a thread, over a connection that the event loop makes and can end.

A server that sends a byte now and then defeats every timeout of a socket, and a thread can't be
cancelled. So when ``send_mail`` is cancelled, it shuts the connection down; that ends the thread's
read or write.
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
    """The configured port, else the usual one for this kind of encryption."""
    return action.port or _DEFAULT_PORTS[action.security]


async def send_mail(action: EmailAction, mail: EmailMessage) -> None:
    """Send a mail, without a deadline.

    Raises OSError, SMTPException, and ValueError where an address can't be sent.
    """
    problem: Exception | None = None
    async with await _connected(action) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_shut_down_when_cancelled, stream)
        try:
            await in_thread(_send_blocking, stream.socket.fileno(), action, mail)
        except Exception as error:  # the nursery would wrap it into a group
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


async def _shut_down_when_cancelled(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with suppress(OSError):  # the server closed it first
            stream.socket.shutdown(socket.SHUT_RDWR)


class _Smtp(smtplib.SMTP):
    """Speaks over a connection that exists already.

    smtplib would look up this host's own name, and a resolver may not answer; so it is given one.
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


def _send_blocking(descriptor: int, action: EmailAction, mail: EmailMessage) -> None:
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
            server.send_message(mail)
