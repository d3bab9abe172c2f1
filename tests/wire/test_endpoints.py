import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import GOOD, decode, rows

from aegisd.wire.naming import endpoints
from aegisd.wire.naming.endpoints import EndpointNamer

template = EndpointNamer(templates=True).endpoint_of

IDENTIFIERS = [
    "1",
    "123456789012345678901234567890",
    "-1",
    "+1",
    "1.5",
    "1.2.3",
    "192.0.2.1",
    "2026-11-23",
    "10:30:00",
    "12,13",
    "c56a4180-65aa-42ec-a945-5fd21dec0538",
    "C56A4180-65AA-42EC-A945-5FD21DEC0538",
    "c56a418065aa42eca9455fd21dec0538",
    "deadbeef1",
    "507f1f77bcf86cd799439011",  # ObjectId of MongoDB
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "01arz3ndektsv4rrffq69g5fav",
    "dGhpcyBpcyBhIHRva2Vu_1-2=",
    "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "ABC-123",
    "ann@example.com",
]
KEEPING = [
    ("123.json", "{id}.json"),
    ("IMG_2042.jpg", "{id}.jpg"),
    ("c56a4180-65aa-42ec-a945-5fd21dec0538.tar.gz", "{id}.gz"),
    ("7:cancel", "{id}:cancel"),
    ("Products(42)", "Products({id})"),
    ("Customers('ALFKI')", "Customers({id})"),
    ("Customers%28%27ALFKI%27%29", "Customers({id})"),
    ("Model.Rate(stars=5)", "Model.Rate({id})"),
]
WORDS = [
    "api",
    "v1",
    "v2.1",
    "2fa",
    "oauth2",
    "s3",
    "users",
    "deadbeef",
    "facade",
    "cafebabe",
    "defaced",
    "face2",  # hex, and too short to be an identifier
    "md5sum",
    "index.html",
    "app.3f2a.js",
    "{id}",
    ":id",
    "*",
    "-",
    ".",
    "..",
    "ünïcode",
    "internationalization-settings",
    "\ufffd",
    "MAX_UNAVAILABLE_SECONDS_",
    "oauth2-authorization-server",
    "contact-form-7",
    "logo@2x.png",
    "@me",
    "Default.Rate()",
    "a(b)",
    "es-419",
    "sha-256",
    "v1beta1",
]


PATTERNS = ("/users/me", "/users/{name}", "/files/{path*}", "/a/{b}/")


def named(
    *events: dict[str, object], templates: bool = True, patterns: tuple[str, ...] = ()
) -> list[str]:
    (block,) = decode(list(events)).blocks
    endpoints = EndpointNamer(templates=templates, patterns=patterns)
    return [str(row["endpoint"]) for row in rows([endpoints.name(block)])]


def request(path: str, **others: object) -> dict[str, object]:
    return GOOD["request"] | {"path": path} | others


@pytest.mark.parametrize("segment", IDENTIFIERS)
def test_identifier_becomes_a_placeholder(segment: str) -> None:
    assert template(f"/users/{segment}/orders") == "/users/{id}/orders"
    assert template(f"/{segment}") == "/{id}"


@pytest.mark.parametrize(("segment", "shown"), KEEPING)
def test_format_or_verb_stays_behind_the_placeholder(segment: str, shown: str) -> None:
    assert template(f"/users/{segment}/orders") == f"/users/{shown}/orders"


@pytest.mark.parametrize("segment", WORDS)
def test_word_is_no_identifier_and_stays_in_the_template(segment: str) -> None:
    assert template(f"/users/{segment}/orders") == f"/users/{segment}/orders"


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/api/v1/users", "/api/v1/users"),
        ("/api/v1/users/123", "/api/v1/users/{id}"),
        ("/api/v1/users/123/", "/api/v1/users/{id}/"),
        ("/a/1/b/2/c", "/a/{id}/b/{id}/c"),
        ("//1//", "/{id}/"),
        ("", ""),
        ("*", "*"),
        ("/a/1?x=2/3", "/a/{id}"),
        ("/a#1", "/a"),
        ("/a;jsessionid=1A53/b;c=1", "/a/b"),
        ("///a////b//", "/a/b/"),
        ("http://host//a//1", "http://host/a/{id}"),
        ("/a/%31%32%33/%61", "/a/{id}/%61"),
        ("/a/b%2Fc", "/a/{id}"),
        ("/a/%E9t%E9", "/a/%E9t%E9"),
        ("/a/%", "/a/%"),
        ("/api/2/x/2", "/api/2/x/{id}"),
        ("/rest/v/10.1/1", "/rest/v/10.1/{id}"),
        ("/API/2", "/API/2"),
        ("/api/12345", "/api/{id}"),
        ("/rest/10.0.0.1", "/rest/{id}"),
        ("/1.1/users/2", "/1.1/users/{id}"),
        ("/1.1/", "/{id}/"),
        ("1.1/a", "{id}/a"),
        ("/a" * 31 + "/1", "/a" * 31 + "/{id}"),
        ("/a" * 31 + "/1/2", "/a" * 31 + "/1/2"),
        ("/1" * 31 + "/a/1/1%2F2", "/{id}" * 31 + "/a/1/1%2F2"),
    ],
)
def test_templates_of_whole_paths(path: str, endpoint: str) -> None:
    assert template(path) == endpoint


@given(st.text(max_size=40))
def test_template_of_a_template_is_the_same(path: str) -> None:
    assert template(template(path)) == template(path)


@given(st.integers(0, 2**128 - 1), st.uuids())
def test_any_number_and_any_uuid_is_an_identifier(number: int, uuid: object) -> None:
    assert template(f"/x/{number}/{uuid}") == "/x/{id}/{id}"


def test_hostile_path_is_judged_in_a_bounded_number_of_steps() -> None:
    for part in ("1-", "a1", "1", "f", "1.", "-", "é", "a_", "aA1", "1a1a", "a.b", ":a", "(", "%"):
        assert template("/" + part * 1024 + "!") == "/" + part * 1024 + "!"


def test_route_is_the_endpoint_instead_of_a_template() -> None:
    assert named(request("/users/1", route="/users/:user")) == ["/users/:user"]
    mixed = [
        request("/users/1", route=None),
        request("/users/2", route="/users/:user"),
        request("/users/3", route=None),
        request("/users/4", route="/x/5"),
    ]
    assert named(*mixed) == ["/users/{id}", "/users/:user", "/users/{id}", "/x/5"]


def test_without_templates_the_endpoint_is_the_path_without_its_query() -> None:
    assert named(request("/users/1?x"), templates=False) == ["/users/1"]
    assert named(request("/users/1?x", route="/r"), templates=False) == ["/r"]


def test_first_pattern_that_a_path_matches_is_its_endpoint() -> None:
    paths = ("/users/me?x", "/users/7?y", "/files/1/2#z", "/a/7/", "/a/7", "/users/7/orders/8")
    others = ["/a/{id}", "/users/{id}/orders/{id}"]
    taken = ["/users/me", "/users/{name}", "/files/{path*}", "/a/{b}/"]
    assert named(*map(request, paths), patterns=PATTERNS) == [*taken, *others]
    assert named(*map(request, paths), patterns=PATTERNS[1::-1])[0] == "/users/{name}"


def test_pattern_is_for_the_path_without_parameters_and_slashes_in_a_row() -> None:
    paths = ("//users//7;jsessionid=1", "/users/me;x=1?y=2")
    assert named(*map(request, paths), patterns=PATTERNS) == ["/users/{name}", "/users/me"]


def test_path_parameters_make_no_endpoint_of_their_own() -> None:
    sessions = [request(f"/cart;jsessionid={number:032X}") for number in range(50)]
    assert {*named(*sessions)} == {"/cart"}
    assert {*named(*sessions, templates=False)} == {"/cart"}


def test_endpoint_of_a_url_as_route_has_no_query() -> None:
    routes = ("/r?token=1", "/r;token=1", "/r/:id?", None)
    events = [request("/x", route=route) for route in routes]
    assert named(*events) == ["/r", "/r", "/r/:id?", "/x"]


def test_pattern_is_the_endpoint_also_with_templates_off() -> None:
    paths = ("/users/7", "/a/7", "/files/1?x")
    endpoints = ["/users/{name}", "/a/7", "/files/{path*}"]
    assert named(*map(request, paths), templates=False, patterns=PATTERNS) == endpoints


def test_route_is_the_endpoint_instead_of_a_pattern() -> None:
    events = [request("/users/7", route="/r/{user}"), request("/users/7")]
    assert named(*events, patterns=PATTERNS) == ["/r/{user}", "/users/{name}"]


def test_endpoint_of_a_path_as_sent_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    naming = EndpointNamer(templates=True, patterns=PATTERNS)
    (block,) = decode([request(path) for path in ("/users/7?x=1", "/users/7", "/8", "/9")]).blocks
    first = rows([naming.name(block)])
    monkeypatch.setattr(endpoints, "_template", None)  # not asked again
    naming._patterns = None
    assert rows([naming.name(block)]) == first
    assert [row["endpoint"] for row in first] == ["/users/{name}"] * 2 + ["/{id}"] * 2


def test_paths_of_one_endpoint_share_one_value() -> None:
    held = [("/users/1", None), ("/users/2", None), ("/x", "/users/{id}")] * 2 + [("/y", None)]
    (block,) = decode([request(path, route=route) for path, route in held]).blocks
    text = EndpointNamer(templates=True).name(block).texts["endpoint"]
    assert [value for value in text.values if value is not None] == ["/users/{id}", "/y"]
    assert text.rows() == ["/users/{id}"] * 6 + ["/y"]


@given(st.lists(st.tuples(st.sampled_from("abc12"), st.none() | st.sampled_from("rs")), min_size=1))
@settings(max_examples=100)
def test_every_event_gets_its_own_endpoint(held: list[tuple[str, str | None]]) -> None:
    events = [request(f"/{path}", route=route) for path, route in held]
    assert named(*events) == [template(f"/{p}") if r is None else r for p, r in held]


def test_block_of_another_kind_gets_no_endpoint() -> None:
    (block,) = decode(GOOD["backend"]).blocks
    assert EndpointNamer(templates=True).name(block) is block


def test_remembered_paths_are_bounded_and_those_in_use_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoints, "MAX_REMEMBERED", 100)
    remembering = EndpointNamer(templates=True)
    for number in range(1000):
        assert number == 0 or "/used/1" in remembering._recent | remembering._older
        (block,) = decode([request(f"/scan/x{number}y"), request("/used/1")]).blocks
        names = [row["endpoint"] for row in rows([remembering.name(block)])]
        assert names == [f"/scan/x{number}y", "/used/{id}"]
        assert len(remembering._recent) + len(remembering._older) <= 100


def test_long_paths_are_not_remembered() -> None:
    remembering = EndpointNamer(templates=True)
    long = ["/" + "x" * 300, "/" + "é" * 300, "/" + "\U0001f680" * 80]
    short = ["/short", "/" + "x" * 250, "/" + "\U0001f680" * 50]
    (block,) = decode([request(path) for path in long + short]).blocks
    assert [row["endpoint"] for row in rows([remembering.name(block)])] == long + short
    assert list(remembering._recent) == short


def test_path_and_equal_endpoint_are_one_text_in_memory() -> None:
    remembering = EndpointNamer(templates=True)
    (block,) = decode([request("/some/path"), request("/1")]).blocks
    remembering.name(block)
    ((path, endpoint), _) = remembering._recent.items()
    assert endpoint is path
