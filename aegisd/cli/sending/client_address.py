"""Finds the client in a line of an access log, in the part before the time. Pure.

A line starts with the client, the identity and the user. The client is an address, or a name where
the server looks names up. Variants put more in front:

1. the virtual host, with or without its port: ``www.example.com:443 192.0.2.1 - -``;
2. the virtual host, joined to the client by colons;
3. a list of forwarded addresses, of which the first is the client's, then the proxy's address.
"""

from ipaddress import ip_address

NONE = "-"


def find_client(head: str) -> str | None:
    """The first address in ``head``, else the last name; None where there is neither."""
    fields = head.split()[:-2]  # without identity and user
    if NONE in fields[1:]:  # the identity: what follows is a user of several words
        fields = fields[: fields.index(NONE, 1)]
    names = [name.strip('"') for name in " ".join(fields).replace(",", " ").split()]
    addresses = filter(None, map(_address, names))
    return next(addresses, None) or next(filter(_is_name, reversed(names)), None)


def _is_name(text: str) -> bool:
    return text not in ("", NONE) and not text.rpartition(":")[2].isdigit()


def _address(text: str) -> str | None:
    """The address in a field, without port, brackets, or a host and its port in front."""
    host, _, port = text.rpartition(":")
    candidates = [text, text.removeprefix("[").removesuffix("]")]
    if port.isdigit():
        candidates += [host, host.removeprefix("[").removesuffix("]")]
    candidates += text.split(":", 2)[2:]
    return next(filter(_is_address, candidates), None)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
