"""Paths and methods, and requests that change something: through a table made here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from web.conftest import CONFIG, Web
from web.streams import parse_answers
from web.test_exchange import CHUNKED, head
from web.test_refusals import TOKENS, error_of

from aegisd.web.answers.parameters import json_body
from aegisd.web.api import Api
from aegisd.web.http import Fitting, Request, Response, success

JSON = {"Content-Type": "application/json"}
ADMIN = {"Authorization": "Bearer mighty"}


async def told(request: Request) -> Response:
    return success([request.method, request.item, request.name])


async def kept(request: Request) -> Response:
    return success(json_body(request))


async def raw(request: Request) -> Response:
    return success(request.body.decode())


API = Api(
    {
        "/things": {"GET": told, "POST": kept},
        "/things/{id}": {"GET": told, "DELETE": told},
        "/things/{id}/done": {"POST": told},
        "/things/all": {"GET": raw},
        "/files/{*name}": {"GET": told},
        "/write-only": {"PUT": raw},
    },
    Fitting(),
)


@pytest.fixture
def writing(serving):
    """Serve the table above."""

    @asynccontextmanager
    async def serve(config: str = CONFIG) -> AsyncIterator[Web]:
        async with serving(config) as web:
            web.daemon.server._api = API
            yield web

    return serve


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("GET", "/things", ["GET", "", None]),
        ("GET", "/things/7", ["GET", "7", None]),
        ("GET", "/things/%3Cb%3E", ["GET", "<b>", None]),
        ("DELETE", "/things/7", ["DELETE", "7", None]),
        ("POST", "/things/7/done", ["POST", "7", None]),
        ("GET", "/files/a/b.js", ["GET", "a/b.js", None]),
        ("GET", "/things/all", ""),  # rather than a thing of this name
    ],
)
async def test_path_and_method_find_their_handler(writing, method, path, data):
    async with writing() as web:
        response = await web.client.request(method, path, headers=JSON)
    assert (response.status_code, response.json()["data"]) == (200, data)


@pytest.mark.parametrize(
    "path",
    ["/things/", "/things//done", "/things/7/", "/things/7/8", "/things/7%2F8", "/things/7/done/"],
)
async def test_path_beside_the_table_is_404(writing, path):
    async with writing() as web:
        assert (await web.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/things", "GET, POST, HEAD, OPTIONS"),
        ("POST", "/things/7", "GET, DELETE, HEAD, OPTIONS"),
        ("GET", "/things/7/done", "POST, OPTIONS"),
        ("HEAD", "/write-only", "PUT, OPTIONS"),
        ("TRACE", "/things", "GET, POST, HEAD, OPTIONS"),
    ],
)
async def test_other_method_is_405_with_the_methods_that_the_path_has(writing, method, path, allow):
    async with writing() as web:
        refused = await web.client.request(method, path)
        told = await web.client.options(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)
    assert (told.status_code, told.headers["allow"], told.content) == (204, allow, b"")
    assert not told.headers.keys() & {"content-length", "content-type"}


async def test_body_is_given_to_the_handler_and_the_next_request_follows(writing):
    chunks = b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
    posts = head(CHUNKED, "Content-Type: application/json", method="POST", path="/things") + chunks
    sized = head(
        *("Content-Type: application/json; charset=utf-8", "Content-Length: 3"),
        *("Connection: close",),
        method="PUT",
        path="/write-only",
    )
    async with writing() as web:
        received = await web.raw(posts, sized, b"abc")
    answers = parse_answers(received, "POST", "PUT")
    assert [body for _, _, body in answers] == [
        b'{"success":true,"data":{"a":1}}',
        b'{"success":true,"data":"abc"}',
    ]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{", b'{"a":NaN}', b"\xff", b'{"a":"\\ud800"}']
)
async def test_body_that_is_no_json_object_is_400(writing, body):
    async with writing() as web:
        response = await web.client.post("/things", content=body, headers=JSON)
    assert response.status_code == 400
    assert error_of(response)["message"].startswith("the body takes a JSON object: ")


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"a":' * 12_000, b'{"a":' + b"9" * 60_000 + b"}"]
)
async def test_body_of_extremes_is_400_and_the_server_goes_on(writing, body):
    async with writing() as web:
        assert (await web.client.post("/things", content=body, headers=JSON)).status_code == 400
        assert (await web.get("/things")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": "Bearer first"} | JSON, 403, "forbidden"),
        (ADMIN, 415, "unsupported_media_type"),
        (ADMIN | {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (ADMIN | JSON | {"Origin": "https://evil.example"}, 403, "forbidden_origin"),
        (JSON, 401, "unauthorized"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_write_that_may_not_be_is_refused_before_its_body_is_read(
    writing, headers, status, code, method
):
    path = {"POST": "/things", "DELETE": "/things/7"}[method]
    lines = [f"{name}: {value}" for name, value in headers.items()]
    async with writing(TOKENS) as web:
        received = await web.raw(head(*lines, CHUNKED, method=method, path=path))
        assert web.daemon.connections.refused[code] == 1
    ((answered, answer, body),) = parse_answers(received, method)
    assert (answered, answer["connection"]) == (status, "close")
    assert f'"code":"{code}"'.encode() in body


async def test_write_of_an_admin_is_answered_and_bears_the_tokens_name(writing):
    async with writing(TOKENS) as web:
        response = await web.client.post("/things/7/done", headers=ADMIN | JSON)
    assert response.json()["data"] == ["POST", "7", "admin"]


async def test_client_that_waits_for_100_gets_it_once_the_head_is_good(writing):
    waits = "Expect: 100-continue"
    async with writing() as web:
        async with await web.connect() as stream:
            lines = ("Content-Type: application/json", "Content-Length: 2", waits)
            await stream.send_all(head(*lines, method="POST", path="/things"))
            assert await stream.receive_some(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            await stream.send_all(b"{}")
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200 ")
        refused = await web.raw(head("Content-Length: 2", waits, method="POST", path="/things"))
    assert refused.startswith(b"HTTP/1.1 415 ")
