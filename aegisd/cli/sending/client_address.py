"""The client of a line in an access log, from what stands before identity, user and time. Pure.

That is an address, or a name where the server looks names up. Before it may stand the virtual
host, with or without its port, or joined to it by colons; in place of it a list of addresses that
were forwarded, of which the first is the client's, and a proxy's address behind.
"""

from ipaddress import ip_address

NONE = "-"


def client(head: str) -> str | None:
    """The first address there, else the last name; None where there is neither."""
    fields = head.split()[:-2]  # without identity and user
    if NONE in fields[1:]:  # a user of several words
        fields = fields[: fields.index(NONE, 1)]
    names = [name.strip('"') for name in " ".join(fields).replace(",", " ").split()]
    addresses = filter(None, map(_address, names))
    return next(addresses, None) or next(filter(_is_name, reversed(names)), None)


def _is_name(text: str) -> bool:
    return text not in ("", NONE) and not text.rpartition(":")[2].isdigit()


def _address(text: str) -> str | None:
    """The address in it, without a port, brackets, or a host and its port in front."""
    host, _, port = text.rpartition(":")
    found = [text, text.removeprefix("[").removesuffix("]")]
    if port.isdigit():
        found += [host, host.removeprefix("[").removesuffix("]")]
    found += text.split(":", 2)[2:]
    return next(filter(_is_address, found), None)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
