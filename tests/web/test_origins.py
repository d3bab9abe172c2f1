"""Hosts and origins: which page is of this service."""

import pytest

from aegisd.web.access.origins import Host, Origin, is_same_origin
from aegisd.web.http import Site

NAMES = frozenset({"x", "localhost", "::1"})
DIRECT, PROXIED = False, True


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("x", Host("x")),
        ("X.Example.:80", Host("x.example", 80)),
        ("x:", Host("x")),
        ("[::1]:8443", Host("::1", 8443)),
        ("127.0.0.1", Host("127.0.0.1")),
        *((wrong, None) for wrong in ("", ".", ":80", "x:y", "x:123456", "a b", "[::1", "::1")),
        *((wrong, None) for wrong in ("x@y", "x/y", "x?y", "x#y", "x,y", "[::1]x", "x:1:2")),
    ],
)
def test_host_is_read_as_name_and_port(header: str, host: Host | None) -> None:
    assert Host.parse(header) == host


@pytest.mark.parametrize(
    ("header", "origin"),
    [
        ("http://x", Origin("http", "x", 80)),
        ("https://X", Origin("https", "x", 443)),
        ("https://x/", Origin("https", "x", 443)),
        ("https://x:8443", Origin("https", "x", 8443)),
        ("http://[::1]:80", Origin("http", "::1", 80)),
        *((wrong, None) for wrong in ("null", "", "x", "//x", "ftp://x", "http://", "http://x/y")),
        *((wrong, None) for wrong in ("http://a@x", "http://x?y", "http://x y", "http://[::1")),
        *((wrong, None) for wrong in ("http://x, http://y", "file://", "chrome-extension://x")),
    ],
)
def test_origin_is_read_with_its_port(header: str, origin: Origin | None) -> None:
    assert Origin.parse(header) == origin


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "proxied", "same"),
    [
        # as the browser sees it
        ("http://x:7460", None, "x:7460", DIRECT, True),
        ("http://x", None, "x", DIRECT, True),
        ("http://x", None, "x:80", DIRECT, True),
        ("https://x", "https", "x", DIRECT, True),
        ("https://x:443", "https", "x", DIRECT, True),
        ("https://x:8443", "https", "x:8443", DIRECT, True),
        ("http://[::1]:80", None, "[::1]", DIRECT, True),
        # TLS ends at a proxy that is not trusted, so the scheme is not known
        ("https://x", None, "x", DIRECT, True),
        ("https://x:8443", None, "x:8443", DIRECT, True),  # $http_host
        # $host: the port is lost
        ("https://x", "https", "x", PROXIED, True),
        ("https://x:8443", "https", "x", PROXIED, True),
        ("https://x:8443", None, "x", PROXIED, True),
        ("https://x:8443", None, "x", DIRECT, False),
        ("http://x:3000", None, "x", DIRECT, False),
        # another scheme
        ("http://x", "https", "x", DIRECT, False),
        ("http://x:8443", "https", "x:8443", DIRECT, False),
        ("http://x:3000", "https", "x", PROXIED, False),
        ("https://x", "http", "x", PROXIED, False),
        # another port
        ("http://x:3000", None, "x:7460", DIRECT, False),
        ("https://x", None, "x:8443", PROXIED, False),
        ("https://x:8443", "https", "x:443", PROXIED, False),
        ("https://x", None, "x:80", DIRECT, False),
        # another host
        ("https://evil.example", "https", "x", PROXIED, False),
        ("https://a.x", "https", "x", PROXIED, False),
        ("https://x.evil.example", None, "x", DIRECT, False),
        ("http://localhost:7460", None, "127.0.0.1:7460", DIRECT, False),
        ("https://x", "https", "127.0.0.1:7460", PROXIED, False),
        ("https://x", "https", "x y", DIRECT, False),
        # what was asked for is lost
        ("https://x:8443", "https", "", PROXIED, True),
        ("http://localhost:80", None, "", PROXIED, True),
        ("http://x", "https", "", PROXIED, False),
        ("https://evil.example", "https", "", PROXIED, False),
        ("https://x", "https", "", DIRECT, False),
        ("https://x", "https", "x y", PROXIED, False),
    ],
)
def test_origin_without_sec_fetch_site_must_be_what_was_asked(
    origin: str, scheme: str | None, host: str, proxied: bool, same: bool
) -> None:
    parsed = Origin.parse(origin)
    assert parsed is not None
    assert is_same_origin(parsed, Site(scheme, host, proxied), None, NAMES) == same


@pytest.mark.parametrize(
    ("origin", "host", "fetch_site", "same"),
    [
        ("https://x:8443", "x", "same-origin", True),
        ("https://x:8443", "127.0.0.1:7460", "same-origin", True),  # nginx's default Host
        ("https://evil.example", "127.0.0.1:7460", "same-origin", False),  # DNS rebinding
        ("http://x:7460", "x:7460", "same-site", False),
        ("http://x:7460", "x:7460", "cross-site", False),
        ("http://x:7460", "x:7460", "none", False),
        ("http://x:7460", "x:7460", "garbage", False),
    ],
)
def test_browsers_own_word_counts_for_names_of_this_service(
    origin: str, host: str, fetch_site: str, same: bool
) -> None:
    parsed = Origin.parse(origin)
    assert parsed is not None
    assert is_same_origin(parsed, Site(None, host), fetch_site, NAMES) == same
