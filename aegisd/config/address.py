"""Addresses as the configuration writes them: host and port."""

import re

MAX_PORT = 65535


def split_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:80`` or ``[::1]:80`` as host and port. Raises ValueError with the problem."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise ValueError(f"'{text}' is not HOST:PORT (an IPv6 host in brackets)")
    if not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise ValueError(f"port '{port}' is not a number from 0 to {MAX_PORT}")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether a socket on this host can be reached from this machine only."""
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def join_address(host: str, port: int) -> str:
    """Host and port as ``split_address`` reads them: an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
