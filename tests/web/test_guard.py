"""The guard by itself: requests whose addresses no test machine has."""

import pytest

from aegisd.config.settings import Address, Http
from aegisd.web.http import Guard, HttpError, Request


def request(host: str, local: str = "127.0.0.1") -> Request:
    return Request("GET", "/healthz", {}, {"host": host}, "127.0.0.1", local)


def test_configured_listening_address_passes_and_another_address_is_421() -> None:
    guard = Guard(Http(listen=Address("10.1.2.3:80")), [])
    guard.check(request("10.1.2.3:80"))
    with pytest.raises(HttpError) as caught:
        guard.check(request("10.1.2.4:80"))
    assert caught.value.status == 421


@pytest.mark.parametrize(
    ("local", "host"),
    [
        ("10.1.2.3", "10.1.2.3:7460"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "[2001:db8::1]:7460"),
    ],
)
def test_address_that_the_client_connected_to_passes(local: str, host: str) -> None:
    guard = Guard(Http(listen=Address("0.0.0.0:7460")), [])
    guard.check(request(host, local))
