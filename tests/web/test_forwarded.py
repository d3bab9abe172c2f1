"""What proxies say about a client: believed from trusted ones only, and never beyond them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.web.access.forwarded import (
    MAX_HOPS,
    TrustedProxies,
    Way,
    parse_address,
    parse_forwarded,
)

PROXY, INNER, CLIENT = "10.0.0.1", "10.0.0.2", "198.51.100.7"
PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48"])


def client_of(peer: str = PROXY, **headers: str) -> str:
    return PROXIES.way_of(peer, {k.replace("_", "-"): v for k, v in headers.items()}).client


def test_untrusted_peer_is_the_client_whatever_it_sends() -> None:
    headers = {
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "good.example",
        "forwarded": "for=192.0.2.1;proto=https;host=good.example",
    }
    assert PROXIES.way_of("203.0.113.9", headers) == Way("203.0.113.9")
    assert TrustedProxies([]).way_of(PROXY, headers) == Way(PROXY)


@pytest.mark.parametrize(
    ("listed", "client"),
    [
        (CLIENT, CLIENT),
        (f"192.0.2.1, {CLIENT}", CLIENT),  # the first was sent by the client itself
        (f"192.0.2.1, {CLIENT}, {INNER}", CLIENT),
        (f"{CLIENT},{INNER},{PROXY}", CLIENT),
        (f"{INNER}, {PROXY}", INNER),  # all trusted: the farthest
        (f" {CLIENT}:4711 ", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:DB8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        (f"{CLIENT}, 2001:db8:1::9", CLIENT),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"[::ffff:{CLIENT}]:80", CLIENT),
        (f"{CLIENT}, ::ffff:{INNER}", CLIENT),
        ("unknown", PROXY),
        (f"{CLIENT}, unknown", PROXY),
        (f"{CLIENT}, _hidden", PROXY),
        (f"{CLIENT}, unknown, {INNER}", INNER),
        (f"{CLIENT}, ", PROXY),
        ("", PROXY),
        ("1.2.3.4.5", PROXY),
        ("256.1.1.1", PROXY),
        ("010.1.1.1", PROXY),
        ("[2001:db8::7", PROXY),
        ("2001:db8::7]:80", PROXY),
        ("fe80::1%eth0", PROXY),
        ("1.2.3.4:port", PROXY),
        ("<script>", PROXY),
        ("١.٢.٣.٤", PROXY),
    ],
)
def test_last_address_of_the_list_that_is_no_proxys_is_the_client(listed: str, client: str) -> None:
    assert client_of(x_forwarded_for=listed) == client


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by={PROXY}", CLIENT),
        (f'for="{CLIENT}:80"', CLIENT),
        (f"for={CLIENT}:80", CLIENT),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        (f"for=192.0.2.1, for={CLIENT}, for={INNER}", CLIENT),
        (f"for={CLIENT};, for={INNER}", CLIENT),
        ("for=unknown", PROXY),
        ("for=_hidden", PROXY),
        ('for="_a,for=b"', PROXY),
        ("proto=https", PROXY),
        (f"for={CLIENT}, proto=https", PROXY),
        (f'for={CLIENT};for="192.0.2.1"', PROXY),  # twice: breaks the grammar
        (f'for="{CLIENT}', PROXY),
        (f"for={CLIENT} for={CLIENT}", PROXY),
        ("", PROXY),
        ("\0", PROXY),
        ('"' * 9000, PROXY),
        (r'for="' + r"\"" * 8000, PROXY),
    ],
)
def test_forwarded_names_the_client_as_rfc_7239_says(header: str, client: str) -> None:
    assert client_of(forwarded=header) == client


def test_both_headers_count_where_they_agree() -> None:
    way = PROXIES.way_of(PROXY, {"x-forwarded-for": CLIENT, "forwarded": f"for={CLIENT}"})
    assert way == Way(CLIENT, proxied=True)


def test_neither_header_counts_where_one_passed_through() -> None:
    """A proxy that sets one of them passes the other through as the client sent it."""
    headers = {"x-forwarded-for": CLIENT, "forwarded": "for=192.0.2.1;proto=https"}
    assert PROXIES.way_of(PROXY, headers) == Way(PROXY, proxied=True)
    assert client_of(x_forwarded_for=CLIENT, forwarded='for="') == PROXY


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ({}, None, None),
        ({"x-forwarded-proto": "https"}, "https", None),
        ({"x-forwarded-proto": "HTTP, https "}, "https", None),
        ({"x-forwarded-proto": "wss"}, "https", None),
        ({"x-forwarded-proto": "ws"}, "http", None),
        ({"x-forwarded-proto": "ftp"}, None, None),
        ({"x-forwarded-proto": ""}, None, None),
        ({"x-forwarded-host": "A.example:8443"}, None, "a.example:8443"),
        ({"x-forwarded-host": "evil.example, a.example"}, None, "a.example"),
        ({"x-forwarded-host": " "}, None, None),
        ({"forwarded": 'for=198.51.100.7;proto=https;host="a.example:8443"'}, "https", "a.exa"),
        ({"forwarded": f"for={CLIENT};proto=https, for={INNER};proto=http"}, "https", None),
        ({"forwarded": "proto=https;host=a.example"}, "https", "a.example"),
    ],
)
def test_scheme_and_host_are_what_the_nearest_proxy_tells(headers, scheme, host) -> None:
    way = PROXIES.way_of(PROXY, headers)
    assert way.scheme == scheme
    assert (way.host or "").startswith(host or "")
    assert bool(way.host) == bool(host)


def test_only_so_many_hops_are_read() -> None:
    hops = [CLIENT, *[PROXY] * 3000]
    assert client_of(x_forwarded_for=",".join(hops)) == PROXY
    assert client_of(x_forwarded_for=",".join(hops[:MAX_HOPS])) == CLIENT
    assert client_of(forwarded=", ".join(f"for={hop}" for hop in hops[: MAX_HOPS + 1])) == PROXY
    assert client_of(forwarded=", ".join(f"for={hop}" for hop in hops[:MAX_HOPS])) == CLIENT


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_header_gives_an_address_that_can_be_counted(listed: str, forwarded: str) -> None:
    for headers in (
        {"x-forwarded-for": listed},
        {"forwarded": forwarded},
        {"x-forwarded-for": f"{listed},{CLIENT}"},
    ):
        client = PROXIES.way_of(PROXY, headers).client
        assert parse_address(client) == client
    assert client == CLIENT


@given(st.lists(st.dictionaries(st.sampled_from(["for", "by", "host"]), st.text(), min_size=1)))
def test_quoted_values_come_back_as_they_were(elements: list[dict[str, str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        ";".join(f"{name}={quoted(value)}" for name, value in element.items())
        for element in elements
    )
    lines = any("\n" in value for element in elements for value in element.values())
    assert lines or parse_forwarded(header) == (elements or [{}])
