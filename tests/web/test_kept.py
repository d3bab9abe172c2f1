"""Answers that are given again: while nothing changed, to all who ask the same, within bounds."""

import pytest
import trio
import trio.testing
from attrs import define, evolve, field

from aegisd.web.http import Fitting, Kept, KeptHandler, Request, Response, kept

GZIP = {"accept-encoding": "gzip"}


@define
class Source:
    """Counts how often an answer is made; makes it when it may go on."""

    version: int = 0
    made: int = 0
    size: int = 10
    failure: Exception | None = None
    going_on: trio.Event = field(factory=trio.Event)

    async def make(self, request: Request) -> Response:
        self.made += 1
        number = self.made
        await self.going_on.wait()
        if self.failure is not None:
            raise self.failure
        return Response(200, f"{number} {request.path}".ljust(self.size).encode())


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def handler(source):
    return KeptHandler(Kept(lambda: source.version, Fitting()), source.make)


def request(target: str = "/a", *, admin: bool = False, headers: dict | None = None) -> Request:
    return evolve(Request.parse("GET", target, headers or {}, "::1", "::1"), admin=admin)


async def test_answer_is_given_again_until_the_version_changes(source, handler):
    source.going_on.set()
    assert handler.ready(request()) is None
    first = await handler(request())
    assert handler.ready(request()) is first
    assert await handler(request()) is first
    source.version = 1
    assert handler.ready(request()) is None
    assert (await handler(request())).body != first.body
    assert source.made == 2


@pytest.mark.parametrize(
    "other", [request("/a?range=5m"), request(admin=True), request(headers=GZIP)]
)
async def test_another_question_gets_another_answer(source, handler, other):
    source.going_on.set()
    await handler(request())
    assert handler.ready(other) is None
    await handler(other)
    assert source.made == 2


async def test_kept_answer_is_the_compressed_one(source, handler):
    source.going_on.set()
    source.size = 5000
    await handler(request(headers=GZIP))
    ready = handler.ready(request(headers=GZIP))
    assert ready.headers["Content-Encoding"] == "gzip"
    assert (await handler(request())).body.startswith(b"2 /a")


async def test_all_who_ask_the_same_wait_for_one_answer(source, handler):
    answers = []

    async def ask() -> None:
        answers.append(await handler(request()))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.going_on.set()
    assert source.made == 1
    assert len({answer.body for answer in answers}) == 1
    assert len(answers) == 10


async def test_who_asks_after_a_change_does_not_wait_for_the_answer_of_before(source, handler):
    answers = []

    async def ask() -> None:
        answers.append((await handler(request())).body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.version = 1
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.going_on.set()
    assert sorted(answers) == [b"1 /a".ljust(10), b"2 /a".ljust(10)]
    assert handler.ready(request()).body == b"2 /a".ljust(10)


async def test_answer_that_a_change_overtook_is_not_given_again(source, handler):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler, request())
        await trio.testing.wait_all_tasks_blocked()
        source.version = 1
        source.going_on.set()
    assert handler.ready(request()) is None


async def test_failure_reaches_all_who_wait_and_the_next_one_tries_anew(source, handler):
    source.failure = ValueError("broken")
    failed = []

    async def ask() -> None:
        try:
            await handler(request())
        except ValueError as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        source.going_on.set()
    assert (len(failed), source.made) == (3, 1)
    source.failure = None
    assert (await handler(request())).status == 200


async def test_answer_whose_client_left_is_made_by_the_next_one_that_waits(source, handler):
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(handler, request())
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(handler, request())
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert source.made == 2
        source.going_on.set()
    assert handler.ready(request()).body == b"2 /a".ljust(10)


@pytest.mark.parametrize(("bound", "limit"), [("MAX_KEPT", 5), ("MAX_KEPT_BYTES", 50)])
async def test_beyond_the_bounds_answers_are_made_and_not_kept(
    source, handler, monkeypatch, bound, limit
):
    monkeypatch.setattr(kept, bound, limit)
    source.going_on.set()
    for number in range(10):
        assert (await handler(request(f"/{number}"))).status == 200
    ready = [handler.ready(request(f"/{number}")) is not None for number in range(10)]
    assert ready == [True] * 5 + [False] * 5
    source.version = 1
    assert handler.ready(request("/0")) is None
    await handler(request("/9"))
    assert handler.ready(request("/9")) is not None


async def test_figures_that_just_came_show_at_once(serving):
    event = {"method": "GET", "path": "/a", "status_code": 200}
    async with serving() as web:
        for number in range(1, 6):
            web.process(event)
            for _ in range(2):
                assert (await web.data("/api/metrics/realtime"))["totalRequests"] == number
