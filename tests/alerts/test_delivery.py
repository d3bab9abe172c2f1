"""Which changes are delivered, in which order, and that a failing receiver delays no other."""

import json
from collections.abc import Callable

import pytest
import trio
import trio.testing
from alerts.rule import rule
from alerts.run import BAD, GOOD, Run, at_work
from alerts.servers import http_server
from store.cluster import bounded
from store.databases import database, eventually
from structlog.testing import capture_logs

from aegisd.alerts import actions, delivery
from aegisd.alerts import manager as manager_module
from aegisd.config.settings import EmailAction, LogAction, SlackAction, WebhookAction


async def delivered(course: Callable[[Run], None]) -> list[str]:
    """What the log action writes about a course of checks."""
    async with database(None) as postgres:
        run = Run(postgres, rules=(rule(),))
        with capture_logs() as logs:
            course(run)
            async with at_work(run, trio.Event()):
                await eventually(lambda: not run.manager._delivery._queues)
                await trio.testing.wait_all_tasks_blocked()
    return [line["event"] for line in logs]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "RESTORE_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")


@bounded
async def test_trigger_repeat_and_resolve_are_delivered() -> None:
    def course(run: Run) -> None:
        run.see(BAD)
        assert run.check() == ["active"]
        assert run.check(100) == []
        run.see(BAD)
        assert run.check(200) == ["active"]
        run.see(GOOD)
        assert run.check(1) == ["resolved"]

    assert await delivered(course) == ["alert triggered", "alert triggered", "alert resolved"]


@bounded
async def test_reopen_within_cooldown_and_its_resolve_are_not_delivered() -> None:
    def course(run: Run) -> None:
        run.see(BAD)
        run.check()
        run.see(GOOD)
        run.check(1)
        run.see((500, 1, 10_000))
        assert run.check(1) == ["active"]
        run.see((200, 1, 200_000))
        assert run.check(1) == ["resolved"]

    assert await delivered(course) == ["alert triggered", "alert resolved"]


@bounded
async def test_failing_actions_do_not_delay_other_receivers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_SECONDS", 0.5)
    async with http_server() as silent, http_server() as server, database(None) as postgres:
        silent.status = None
        told = (
            EmailAction(to="<", from_="<", host="127.0.0.1", port=1, security="none"),
            SlackAction(webhook_url="http://127.0.0.1:1/S3CRET"),
            *[SlackAction(webhook_url=silent.url)] * 10,
            SlackAction(webhook_url=server.url),
            LogAction(),
        )
        run = Run(postgres, rules=(rule(actions=told),))
        run.see(BAD)
        with capture_logs() as logs:
            async with at_work(run, trio.Event()):
                await eventually(
                    lambda: server.received and run.manager.figures().failed_actions == 12
                )
    events = [line["event"] for line in logs]
    assert events.count("an alert action failed") == 12
    assert events.count("alert triggered") == 1
    assert "S3CRET" not in str(logs)


@bounded
async def test_receivers_with_many_queued_actions_take_turns_with_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_SECONDS", 0.2)
    async with http_server() as silent, database(None) as postgres:
        silent.status = None
        slow = [
            SlackAction(webhook_url=f"{silent.url}/{number}")
            for number in range(delivery.MAX_ACTIONS_AT_ONCE)
        ]
        run = Run(postgres, rules=(rule(actions=(*slow * 3, LogAction())),))
        run.see(BAD)
        with capture_logs() as logs:
            async with at_work(run, trio.Event()):
                await eventually(lambda: run.manager.figures().failed_actions == len(slow) * 3)
    events = [line["event"] for line in logs]
    assert events.index("alert triggered") <= len(slow)


@bounded
async def test_receiver_gets_its_actions_in_order() -> None:
    async with http_server() as server, database(None) as postgres:
        run = Run(postgres, rules=(rule(actions=(WebhookAction(url=server.url),)),))
        for _ in range(10):
            run.see(BAD)
            run.check()
            run.now += 3600
            run.check()
        async with at_work(run, trio.Event()):
            await eventually(lambda: len(server.received) == 20)
    events = [json.loads(received.body)["event"] for received in server.received]
    assert events == ["triggered", "resolved"] * 10


@bounded
async def test_receiver_that_answers_429_is_paused_and_delays_no_other() -> None:
    async with http_server() as busy, http_server() as server, database(None) as postgres:
        busy.status, busy.retry_after = 429, "3600"
        told = (
            *[SlackAction(webhook_url=busy.url)] * (delivery.MAX_ACTIONS_AT_ONCE + 2),
            SlackAction(webhook_url=server.url),
        )
        run = Run(postgres, rules=(rule(actions=told),))
        run.see(BAD)
        async with at_work(run, trio.Event()):
            await eventually(lambda: server.received)
            await eventually(lambda: busy.received)
            assert len(busy.received) == 1  # the others wait for the first
            assert run.manager.figures().failed_actions == 0


@bounded
async def test_action_is_tried_three_times_and_the_next_one_still_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "PAUSE_SECONDS", 0.01)
    async with http_server() as server, database(None) as postgres:
        server.status = 503
        run = Run(postgres, rules=(rule(actions=(SlackAction(webhook_url=server.url),) * 2),))
        run.see(BAD)
        async with at_work(run, trio.Event()):
            await eventually(lambda: run.manager.figures().failed_actions == 1)
            assert len(server.received) >= delivery.MAX_TRIES
            server.status = 200
            await eventually(lambda: not run.manager._delivery._queues)
    bodies = [received.body for received in server.received]
    assert len(bodies) <= 2 * delivery.MAX_TRIES
    assert run.manager.figures().failed_actions == 1


@bounded
async def test_unforeseen_error_ends_one_action_only() -> None:
    odd = SlackAction(webhook_url=object())  # what no configuration gives
    async with database(None) as postgres:
        run = Run(postgres, rules=(rule(actions=(odd, LogAction())),))
        run.see(BAD)
        with capture_logs() as logs:
            async with at_work(run, trio.Event()):
                await eventually(lambda: len(logs) == 2)
    assert {line["event"] for line in logs} == {"an alert action failed", "alert triggered"}


@bounded
async def test_actions_over_the_queue_limit_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "MAX_QUEUED_ACTIONS", 3)
    async with database(None) as postgres:
        run = Run(postgres, rules=(rule(actions=(LogAction(),) * 5),))
        run.see(BAD)
        with capture_logs() as logs:
            run.check()
            assert run.manager.figures().dropped_actions == 2
            async with at_work(run, trio.Event()):
                await eventually(lambda: len(logs) == 5)
    assert [line["event"] for line in logs] == [
        *["too many alert actions wait, one is dropped"] * 2,
        *["alert triggered"] * 3,
    ]
