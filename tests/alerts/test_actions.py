"""Slack and webhooks, against a real HTTP server."""

import hashlib
import hmac
import json
import socket

import pytest
import trio
from alerts.servers import HttpServer, http_server
from attrs import evolve
from store.cluster import bounded

from aegisd import __version__
from aegisd.alerts import actions
from aegisd.alerts.actions import ActionFailed, perform
from aegisd.alerts.alert import RESOLVED, Alert
from aegisd.config.settings import SlackAction, WebhookAction

ALERT = Alert(
    id="8f14e45f-ceea-467f-a0e6-6b1d3b1f6c2a",
    rule_id="r",
    rule_name="Zu viele Fehler: é",
    severity="critical",
    status="active",
    message="error_rate is 7.5 % over 5m (> 5 %)",
    current_value=7.5,
    threshold=5,
    triggered_at=1_700_000_000_123_456,
)
ENDED = evolve(ALERT, status=RESOLVED, resolved_at=1_700_000_060_000_000)
AS_JSON = {
    "id": ALERT.id,
    "ruleId": "r",
    "ruleName": ALERT.rule_name,
    "severity": "critical",
    "status": "active",
    "message": ALERT.message,
    "triggeredAt": "2023-11-14T22:13:20.123Z",
    "resolvedAt": None,
    "acknowledgedAt": None,
    "acknowledgedBy": None,
    "resolvedBy": None,
    "currentValue": 7.5,
    "threshold": 5,
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@bounded
async def test_webhook_posts_the_alert_when_triggered_and_when_resolved() -> None:
    async with http_server() as server:
        for alert in (ALERT, ENDED):
            await perform(WebhookAction(url=server.url), alert)
    triggered, ended = server.received
    assert (triggered.method, triggered.target) == ("POST", "/hooks/S3CRET")
    assert triggered.headers["content-type"] == "application/json"
    assert triggered.headers["user-agent"] == f"aegisd/{__version__}"
    assert "x-aegisd-signature" not in triggered.headers
    assert json.loads(triggered.body) == {"event": "triggered", "alert": AS_JSON}
    assert json.loads(ended.body) == {
        "event": "resolved",
        "alert": AS_JSON | {"status": "resolved", "resolvedAt": "2023-11-14T22:14:20.000Z"},
    }


@bounded
async def test_webhook_secret_signs_the_body() -> None:
    async with http_server() as server:
        await perform(WebhookAction(url=server.url, secret="schlüssel"), ALERT)
    (received,) = server.received
    digest = hmac.new("schlüssel".encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-aegisd-signature"] == f"sha256={digest}"


@bounded
async def test_webhook_headers_replace_ours_in_any_case() -> None:
    async with http_server() as server:
        headers = {"authorization": "Bearer t", "content-type": "application/cloudevents+json"}
        await perform(WebhookAction(url=server.url, headers=headers), ALERT)
    (received,) = server.received
    assert received.headers["authorization"] == "Bearer t"
    assert received.headers["content-type"] == "application/cloudevents+json"


@bounded
async def test_slack_gets_a_text() -> None:
    async with http_server() as server:
        for alert in (ALERT, ENDED):
            await perform(SlackAction(webhook_url=server.url), alert)
    start = "[critical] Zu viele Fehler: é"
    assert [json.loads(received.body) for received in server.received] == [
        {"text": f"{start} triggered: {ALERT.message}"},
        {"text": f"{start} resolved: {ALERT.message}"},
    ]


@pytest.mark.parametrize("status", [301, 400, 404, 500])
@bounded
async def test_status_other_than_2xx_fails_the_action(status: int) -> None:
    async with http_server() as server:
        server.status = status
        with pytest.raises(ActionFailed, match=f"^answered with status {status}$"):
            await perform(SlackAction(webhook_url=server.url), ALERT)
    assert len(server.received) == 1  # and no redirection is followed


async def failure(action: SlackAction | WebhookAction) -> str:
    with pytest.raises(ActionFailed) as caught:
        await perform(action, ALERT)
    assert caught.value.__cause__ is None
    text = str(caught.value)
    assert text
    assert "S3CRET" not in text
    return text


@bounded
async def test_refused_connection_fails_without_naming_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    await failure(SlackAction(webhook_url=HttpServer(port).url))


@bounded
async def test_server_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_SECONDS", 0.3)
    async with http_server() as server:
        server.status = None
        assert await failure(SlackAction(webhook_url=server.url)) == "no answer within 0.3 s"


@bounded
async def test_server_that_answers_byte_by_byte_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_SECONDS", 0.5)

    async def drip(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"x-more: x\r\n")
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def session(stream: trio.SocketStream) -> None:
            try:
                await drip(stream)
            except trio.BrokenResourceError:
                return

        nursery.start_soon(trio.serve_listeners, session, [listener])
        port = listener.socket.getsockname()[1]
        assert await failure(SlackAction(webhook_url=HttpServer(port).url)) == (
            "no answer within 0.5 s"
        )
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("value", ["S3CRET\n", "S3CRET\r\nX: y", "S3CRETé", "\0S3CRET"])
@bounded
async def test_unsendable_header_fails_without_naming_its_value(value: str) -> None:
    async with http_server() as server:
        headers = {"Authorization": value}
        await failure(WebhookAction(url=server.url, headers=headers))
    assert not server.received


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:1/S3CRET", "http://S3CRET.invalid/", "http://[S3CRET/", "S3CRET://x"]
)
@bounded
async def test_unusable_address_fails_without_naming_it(url: str) -> None:
    await failure(SlackAction(webhook_url=url))
