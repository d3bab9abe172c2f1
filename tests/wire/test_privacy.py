import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import GOOD, decode, rows

from aegisd.config.settings import Privacy
from aegisd.events.block import Block
from aegisd.wire.privacy import protect, truncate_address, without_query

SECRET = GOOD["request"] | {"path": "/a;s=1?token=1#x", "client_ip": "192.0.2.77"}


def protected(*events: dict[str, object], **privacy: object) -> list[dict[str, object]]:
    (block,) = decode(list(events)).blocks
    return rows([protect(block, Privacy(**privacy))])


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/a?b=c", "/a"),
        ("/a?", "/a"),
        ("/a?b?c", "/a"),
        ("/a#b", "/a"),
        ("/a#b?c", "/a"),
        ("/a?b#c", "/a"),
        ("?a=b", ""),
        ("", ""),
        ("/a/b", "/a/b"),
        ("/a%3Fb", "/a%3Fb"),
        ("http://host/a?b", "http://host/a"),
        ("/a;jsessionid=1A53", "/a"),
        ("/a;jsessionid=1A53?b=c", "/a"),
        ("/a;x=1;y=2/b;z/c", "/a/b/c"),
        ("/;a", "/"),
        (";a/b", "/b"),
        ("/a;", "/a"),
        ("/a?b;c/d", "/a"),
        ("/a%3Bb", "/a%3Bb"),
    ],
)
def test_query_fragment_and_parameters_are_cut_off(path: str, kept: str) -> None:
    assert without_query(path) == kept


@given(st.text(max_size=30))
def test_no_path_keeps_its_query(path: str) -> None:
    kept = without_query(path)
    assert not {*kept} & {*"?#;"}
    assert kept.count("/") == path.partition("?")[0].partition("#")[0].count("/")
    assert without_query(kept) == kept


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("192.0.2.0", "192.0.2.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:DB8:1:2::", "2001:db8:1::"),
        ("::1", "::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("::ffff:c000:24d", "192.0.2.0"),
        ("::ffff:192.0.2.77%eth0", "192.0.2.0"),
        ("2002:c000:24d:1::1", "192.0.2.0"),  # 6to4: its first 48 bits are the IPv4 address
        ("64:ff9b::192.0.2.77", "64:ff9b::"),
        ("::192.0.2.77", "::"),
        ("192.0.2.77%eth0", "192.0.2.0"),
    ],
)
def test_addresses_are_cut_to_their_network(address: str, kept: str) -> None:
    assert truncate_address(address) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.7:443",
        "192.0.2.7/24",
        "[2001:db8::1]",
        "[2001:db8::1]:443",
        "2001:db8::1::2",
        "::ffff:192.0.2.777",
        "%eth0",
        " 192.0.2.7",
        "192.0.2.7\n",
        "3221226061",
        "0xc0.0.2.7",
        "unix:",
        "192.0.2.7, 10.0.0.1",
        "192.0.2.07",
        "\ufffd",
        "1" * 64,
        "٣.٣.٣.٣",
    ],
)
def test_client_ip_that_is_no_address_is_dropped(text: str) -> None:
    assert truncate_address(text) is None


@given(st.ip_addresses())
def test_truncated_address_holds_nothing_more_to_remove(address: object) -> None:
    kept = truncate_address(str(address))
    assert kept is not None
    assert truncate_address(kept) == kept


@given(st.integers(0, 2**24 - 1), st.integers(0, 255), st.integers(0, 255))
def test_truncated_addresses_of_one_network_are_equal(network: int, one: int, two: int) -> None:
    front = ".".join(map(str, network.to_bytes(3, "big")))
    assert truncate_address(f"{front}.{one}") == truncate_address(f"{front}.{two}")


@pytest.mark.parametrize(
    ("client_ip", "kept"), [("full", "192.0.2.77"), ("truncate", "192.0.2.0"), ("drop", None)]
)
def test_client_ip_is_kept_truncated_or_dropped_as_configured(
    client_ip: str, kept: str | None
) -> None:
    events = protected(SECRET, GOOD["request"], SECRET, client_ip=client_ip)
    assert {(row["path"], row["client_ip"]) for row in events} == {("/a", kept), ("/", None)}


@pytest.mark.parametrize(("strip", "kept"), [(True, "/a"), (False, "/a;s=1?token=1#x")])
def test_query_and_parameters_are_kept_or_stripped_as_configured(strip: bool, kept: str) -> None:
    assert protected(SECRET, strip_query=strip)[0]["path"] == kept


@pytest.mark.parametrize(
    ("route", "kept"),
    [
        ("/users?token=1", "/users"),
        ("/users?a=1&b=2#x", "/users"),
        ("/a?x?token=1", "/a?x"),
        ("/a?a/b=secret&t=1", "/a"),
        ("/a?http://x/y=s&token=s2", "/a"),
        ("/a?=\n?b=c\nd", "/a?=\n"),
        ("/users;jsessionid=1", "/users"),
        ("/users;a=1;b=2/orders?c=3", "/users/orders"),
        ("/users/:id?", "/users/:id?"),
        ("/users/:id?/posts", "/users/:id?/posts"),
        ("/users{?page,limit}", "/users{?page,limit}"),
        (r"^users/(?P<id>\d+)/(?=x)$", r"^users/(?P<id>\d+)/(?=x)$"),
        ("/pets{;page,limit}", "/pets{;page,limit}"),
        ("/pets;{id}", "/pets;{id}"),
        ("?" * 1000 + "=", "?" * 1000 + "="),
        (";" * 1000 + "=", ";" * 1000 + "="),
    ],
)
def test_url_as_route_loses_its_query_and_a_template_stays(route: str, kept: str) -> None:
    sent = GOOD["request"] | {"route": route}
    assert protected(sent, strip_query=True)[0]["route"] == kept
    assert protected(sent, strip_query=False)[0]["route"] == route


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("GET /a?token=1 failed", "GET /a failed"),
        (
            'upstream timed out, request: "GET /a/b;s=1?c=d HTTP/1.1"',
            'upstream timed out, request: "GET /a/b HTTP/1.1"',
        ),
        ("http://b:8080/?token=1: refused", "http://b:8080/ refused"),
        ("/a?x?token=1 and /b?c=d", "/a and /b"),
        ("GET /a?a/b=secret&t=1 failed", "GET /a failed"),
        ("/a;s=1/b?token=1", "/a"),
        ("what is /a? no=1; e=2", "what is /a? no=1; e=2"),
        ("connect() failed;errno=111", "connect() failed;errno=111"),
        ("/?" * 500 + "=", "/?" * 449 + "/"),
    ],
)
def test_url_in_an_error_message_loses_its_query(message: str, kept: str) -> None:
    sent = GOOD["request"] | {"error_message": message}
    assert protected(sent, strip_query=True)[0]["error_message"] == kept
    assert protected(sent, strip_query=False)[0]["error_message"] == message


def test_removed_texts_are_nowhere_in_the_block() -> None:
    texts = {"route": "/a?token=2", "error_message": "GET /a;token=3"}
    (block,) = decode([SECRET | texts] * 3).blocks
    for client_ip in ("truncate", "drop"):
        done = protect(block, Privacy(client_ip=client_ip))
        assert "token" not in repr(done.texts)
        assert "192.0.2.77" not in repr(done.texts)
    assert "192.0.2" not in repr(done.texts)


@pytest.mark.parametrize("kind", ["rate_limit", "backend", "system"])
def test_block_of_another_kind_is_unchanged(kind: str) -> None:
    (block,) = decode(GOOD[kind]).blocks
    same: Block = protect(block, Privacy(client_ip="drop"))
    assert same is block
