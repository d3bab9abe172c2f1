"""Alerts acknowledged, resolved and silenced over HTTP. The rules are checked by the tests."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import trio
from web.conftest import CONFIG
from web.streams import WAIT_SECONDS
from web.test_answers import TIME
from web.test_refusals import TOKENS, error_of
from web.test_websocket import SLOW, connected_to, receive

from aegisd.alerts.silences import silences as silences_module

ADMIN = {"Authorization": "Bearer mighty"}
FAILED = {"method": "GET", "path": "/a", "status_code": 500}
SILENCES = "/api/alerts/silences"


async def post(web, path, body=None, **headers):
    return await web.client.post(path, json={} if body is None else body, headers=headers)


async def fired(web, **headers):
    """The alert of the rule that every daemon has."""
    web.process(FAILED)
    web.daemon.alerts.check()
    (alert,) = web.daemon.alerts.open_alerts
    return f"/api/alerts/{alert.id}"


def in_minutes(minutes):
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


async def test_acknowledged_alert_is_in_the_answer_the_list_and_on_the_websocket(serving, dsn):
    async with serving(SLOW, dsn) as web, connected_to(web) as connection:
        await receive(connection)  # the overview
        path = await fired(web)
        assert (await receive(connection))["data"]["status"] == "active"
        alert = (await post(web, f"{path}/acknowledge")).json()["data"]
        assert (alert["status"], alert["acknowledgedBy"]) == ("acknowledged", "anonymous")
        assert TIME.fullmatch(alert["acknowledgedAt"])
        told = await receive(connection)
        assert (told["type"], told["data"]) == ("alert", alert)
        assert await web.data("/api/alerts?status=acknowledged") == [alert]
        again = await post(web, f"{path}/acknowledge")
        assert (again.status_code, again.json()["data"]) == (200, alert)


async def test_resolved_alert_can_be_changed_no_more(serving, dsn):
    async with serving(dsn=dsn) as web:
        path = await fired(web)
        alert = (await post(web, f"{path}/resolve")).json()["data"]
        assert (alert["status"], alert["resolvedBy"]) == ("resolved", "anonymous")
        assert await web.data(path) == alert
        for act in ("acknowledge", "resolve"):
            refused = await post(web, f"{path}/{act}")
            assert (refused.status_code, error_of(refused)["code"]) == (409, "already_resolved")
        web.daemon.alerts.check()
        assert await web.data("/api/alerts?status=active") == []


@pytest.mark.parametrize("name", ["0" * 32, "nonsense", "%00"])
@pytest.mark.parametrize("act", ["acknowledge", "resolve"])
async def test_unknown_alert_is_404(serving, dsn, name, act):
    async with serving(dsn=dsn) as web:
        answer = await post(web, f"/api/alerts/{name}/{act}")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")


async def test_alert_is_acknowledged_while_the_database_is_away_and_saved_later(serving, dsn):
    async with serving() as web:
        path = await fired(web)
        assert (await post(web, f"{path}/acknowledge")).status_code == 200
        assert (await post(web, f"/api/alerts/{uuid4()}/acknowledge")).status_code == 503
        web.daemon.postgres.dsn = dsn
        with trio.fail_after(WAIT_SECONDS):
            await web.daemon.storage.writer.ready.wait()
        await web.daemon.alerts.restore_and_save()
        assert (await web.data(path))["status"] == "acknowledged"


async def test_tokens_name_says_who_and_a_viewer_may_not(serving, dsn):
    async with serving(TOKENS, dsn) as web:
        path = await fired(web)
        viewer = await post(web, f"{path}/acknowledge", Authorization="Bearer first")
        assert viewer.status_code == 403
        alert = (await post(web, f"{path}/acknowledge", **ADMIN)).json()["data"]
        body = {"until": in_minutes(5)}
        silence = (await post(web, SILENCES, body, **ADMIN)).json()["data"]
        assert (await post(web, SILENCES, body, Authorization="Bearer first")).status_code == 403
    assert (alert["acknowledgedBy"], silence["by"]) == ("admin", "admin")


async def test_silence_is_made_listed_and_removed(serving, dsn):
    body = {
        "ruleId": "high-error-rate",
        "severity": "critical",
        "from": "2023-11-14T22:13:20Z",
        "until": in_minutes(5),
        "comment": "at work on it: é",
    }
    async with serving(dsn=dsn) as web:
        made = await post(web, SILENCES, body)
        silence = made.json()["data"]
        assert made.status_code == 201
        assert await web.data(SILENCES) == [silence]
        removed = await web.client.request(
            "DELETE", f"{SILENCES}/{silence['id']}", headers={"Content-Type": "application/json"}
        )
        assert removed.json() == {"success": True, "data": {}}
        assert await web.data(SILENCES) == []
    assert silence.pop("id")
    assert TIME.fullmatch(silence["until"])
    assert silence == {
        "ruleId": "high-error-rate",
        "severity": "critical",
        "from": "2023-11-14T22:13:20.000Z",
        "until": silence["until"],
        "comment": "at work on it: é",
        "by": "anonymous",
    }


async def test_silence_of_everything_begins_now_and_ends_by_its_id_in_the_query(serving, dsn):
    json_ = {"Content-Type": "application/json"}
    async with serving(dsn=dsn) as web:
        silence = (await post(web, SILENCES, {"until": in_minutes(5)})).json()["data"]
        first = await web.client.delete(f"{SILENCES}?id={silence['id']}", headers=json_)
        second = await web.client.delete(f"{SILENCES}?id={silence['id']}", headers=json_)
        without = await web.client.delete(SILENCES, headers=json_)
    assert (silence["ruleId"], silence["severity"], silence["comment"]) == (None, None, "")
    assert silence["from"] < silence["until"]
    assert [a.status_code for a in (first, second, without)] == [200, 404, 404]


WRONG = {
    "body": b"[]",
    "rule_id": {"rule_id": "r"},
    "until": [{}, {"until": None}, {"until": True}, {"until": "tomorrow"}, {"until": 1},
              {"until": in_minutes(-1)}, {"until": in_minutes(367 * 24 * 60)}, {"until": 1e300}],
    "from": [{"from": in_minutes(24 * 60)}, {"from": "0001-01-01T00:00:00Z"}, {"from": []}],
    "severity": [{"severity": "fatal"}, {"severity": ["info"]}, {"severity": ""}],
    "ruleId": [{"ruleId": ""}, {"ruleId": 1}, {"ruleId": "a\0b"}, {"ruleId": "a" * 256}],
    "comment": [{"comment": 1}, {"comment": "a\0b"}, {"comment": "a" * 501}],
}  # fmt: skip


@pytest.mark.parametrize("parameter", WRONG)
async def test_wrong_silence_is_400_and_names_the_parameter(serving, dsn, parameter):
    bodies = WRONG[parameter] if isinstance(WRONG[parameter], list) else [WRONG[parameter]]
    headers = {"Content-Type": "application/json"}
    async with serving(dsn=dsn) as web:
        for body in bodies:
            if isinstance(body, bytes):
                answer = await web.client.post(SILENCES, content=body, headers=headers)
            else:
                usual = {} if parameter == "until" else {"until": in_minutes(5)}
                answer = await post(web, SILENCES, usual | body)
            assert answer.status_code == 400, body
            assert parameter in error_of(answer)["message"]
        assert await web.data(SILENCES) == []


async def test_half_of_a_surrogate_pair_is_400(serving):
    headers = {"Content-Type": "application/json"}
    async with serving() as web:
        body = b'{"until": 1, "comment": "\\ud800"}'
        assert (await web.client.post(SILENCES, content=body, headers=headers)).status_code == 400


async def test_silence_beyond_the_limit_is_409(serving, dsn, monkeypatch):
    monkeypatch.setattr(silences_module, "MAX_SILENCES", 1)
    async with serving(dsn=dsn) as web:
        assert (await post(web, SILENCES, {"until": in_minutes(5)})).status_code == 201
        refused = await post(web, SILENCES, {"until": in_minutes(5)})
    assert (refused.status_code, error_of(refused)["code"]) == (409, "too_many_silences")


async def test_silences_are_503_while_the_database_is_away(serving):
    async with serving(CONFIG) as web:
        listed = await web.get(SILENCES)
        made = await post(web, SILENCES, {"until": in_minutes(5)})
    assert [a.status_code for a in (listed, made)] == [503, 503]


async def test_alerts_of_a_range_and_before_one(serving, dsn):
    async with serving(dsn=dsn) as web:
        path = await fired(web)
        await web.daemon.alerts.restore_and_save()
        alert = await web.data(path)
        assert await web.data("/api/alerts?range=5m") == [alert]
        assert await web.data("/api/alerts?from=1000") == [alert]
        assert await web.data("/api/alerts?from=1000&to=2000") == []
        assert await web.data(f"/api/alerts?before={alert['id']}") == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("before=yesterday", "before"),
        ("range=1y'--", "range"),
        ("to=5", "from"),
        ("from=x", "from"),
    ],
)
async def test_wrong_parameter_of_the_list_is_400(serving, query, parameter):
    async with serving() as web:
        answer = await web.get(f"/api/alerts?{query}")
    assert answer.status_code == 400
    assert parameter in error_of(answer)["message"]
