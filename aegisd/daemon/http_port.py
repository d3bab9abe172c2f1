"""The HTTP port: bound here or handed over by systemd, with TLS where it is configured."""

import ssl
from socket import socket

import trio
from attrs import evolve

from aegisd.config.address import is_loopback, join_address, split_address
from aegisd.config.settings import Address, Http
from aegisd.errors import AegisdError


def with_address_of(handed: socket | None, settings: Http) -> Http:
    """The settings with the address of systemd's socket, where there is one.

    Raises AegisdError where that address needs tokens and there are none.
    """
    if handed is None:
        return settings
    host, port = handed.getsockname()[:2]
    address = join_address(host, port)
    if not settings.tokens and not is_loopback(split_address(address)[0]):
        raise AegisdError(
            f"systemd's http socket listens on {address}: without http.tokens only loopback "
            "may be listened on"
        )
    return evolve(settings, listen=Address(address))


async def listen(settings: Http, handed: socket | None) -> list[trio.SocketListener]:
    """Listen on systemd's socket, else on the configured address. Raises AegisdError."""
    if handed is not None:
        return [trio.SocketListener(trio.socket.from_stdlib_socket(handed))]
    host, port = split_address(settings.listen)
    try:
        return list(await trio.open_tcp_listeners(port, host=host))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AegisdError(
            f"can't listen on http {settings.listen}: {reason}; "
            "stop the process that holds it (ss -tlnp), or set http.listen"
        ) from None


def with_port_of(listener: trio.SocketListener, settings: Http) -> Http:
    """The settings with the port that the kernel gave."""
    host, _ = split_address(settings.listen)
    port = listener.socket.getsockname()[1]
    return evolve(settings, listen=Address(join_address(host, port)))


def tls_context(settings: Http) -> ssl.SSLContext | None:
    """What TLS needs; None where it is off. Raises AegisdError."""
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise AegisdError(
            f"can't use http.tls_certificate {settings.tls_certificate}: {error}"
        ) from None
    return context


def url_of(settings: Http, listener: trio.SocketListener) -> str:
    """Where the port is reached: ``http://HOST:PORT`` or ``https://HOST:PORT``."""
    scheme = "https" if settings.tls_certificate else "http"
    host, port = listener.socket.getsockname()[:2]
    return f"{scheme}://{join_address(host, port)}"
