"""Ranges of time that nobody should ask for: a 400 that says why, or the right answer."""

import time

import pytest

from aegisd.times import parse_rfc3339

PATHS = ("overview", "request-rate", "heatmap", "nodes", "top-endpoints")
YEAR_9999 = 253_402_300_799

WORDS = {
    "from": "from takes a time (RFC 3339) or seconds since 1970, not",
    "to": "to takes a time (RFC 3339) or seconds since 1970, not",
    "order": "from takes a time before to",
    "alone": "from and to stand together, without range; to may be left out",
    "range": "range takes one of 5m 15m 1h 6h 24h 7d 30d, not",
}
REFUSED = {
    "from=200&to=100": "order",
    "from=100&to=100": "order",
    "from=9999-12-31T23:59:58Z": "order",
    "to=100": "alone",
    "from=100&range=1h": "alone",
    "from=100&to=200&range=": "alone",
    "from=&to=100": "from",
    "from=0&to=": "to",
    "from=-1": "from",
    "from=nan": "from",
    "from=inf": "from",
    "from=1e300": "from",
    "from=1%00": "from",
    "from=yesterday": "from",
    "from=2026-02-30T00:00:00Z": "from",
    "from=2026-01-01T00:00:00": "from",  # where?
    "from=0000-01-01T00:00:00Z": "from",
    "from=0001-01-01T00:00:00%2B23:59": "from",
    "from=1969-12-31T23:59:59Z": "from",
    "from=0&to=10000-01-01T00:00:00Z": "to",
    "from=0&to=9999-12-31T23:59:59-23:59": "to",
    f"from=0&to={YEAR_9999 * 1000 + 1}": "to",
    "range=": "range",
    "range=1y'--": "range",
    "range=1H": "range",
    "range=60m": "range",
}
ANSWERED = {
    "from=0&to=1": (0, 86_400),  # of that time days alone are kept
    "from=0&to=9999-12-31T23:59:59Z": (0, YEAR_9999),
    "from=9999-12-31T23:59:58Z&to=9999-12-31T23:59:59Z": (YEAR_9999 - 9, YEAR_9999),
}


@pytest.mark.parametrize("query", REFUSED)
async def test_nonsensical_range_is_400_with_a_reason(serving, query):
    async with serving() as web:
        for path in PATHS:
            response = await web.get(f"/api/metrics/{path}?{query}")
            assert response.status_code == 400, response.text
            error = response.json()["error"]
            assert error["code"] == "bad_request"
            assert error["message"].startswith(WORDS[REFUSED[query]])


@pytest.mark.parametrize("query", ANSWERED)
async def test_odd_range_is_answered_with_what_it_covers(serving, dsn, query):
    async with serving(dsn=dsn) as web:
        web.process({"method": "GET", "path": "/", "status_code": 200})
        await web.wait_for_rows(1)
        for path in PATHS:
            response = await web.get(f"/api/metrics/{path}?{query}")
            assert response.status_code == 200, response.text
            range_ = response.json()["range"]
            if path == "top-endpoints":  # in whole minutes or hours
                continue
            found = tuple(parse_rfc3339(range_[end]) // 1_000_000 for end in ("from", "to"))
            assert found == ANSWERED[query]
            if path in ("request-rate", "heatmap"):
                data = response.json()["data"]
                points = data if path == "request-rate" else data["buckets"]
                assert 1 <= len(points) <= 150
                first = parse_rfc3339(points[0]["timestamp"]) // 1_000_000
                assert found[0] - range_["bucketSeconds"] < first <= found[0]


async def test_range_into_the_future_has_what_is_there_and_nothing_after(serving, dsn):
    async with serving(dsn=dsn) as web:
        web.process({"method": "GET", "path": "/", "status_code": 200})
        now = int(time.time())
        asked = f"/api/metrics/request-rate?from={now - 3600}&to={now + 3600}"
        answer = (await web.get(asked)).json()
        beyond = await web.data(f"/api/metrics/request-rate?from={now + 999}&to={now + 1000}")
    end, points = parse_rfc3339(answer["range"]["to"]), answer["data"]
    assert end == (now + 3600) * 1_000_000
    assert sum(point["requestCount"] for point in points) == 1
    later = [p for p in points if parse_rfc3339(p["timestamp"]) > (now + 300) * 1_000_000]
    assert {point["value"] for point in later + beyond} == {0}


async def test_range_of_a_part_of_a_second_is_widened_to_the_rollup_it_lies_in(serving, dsn):
    async with serving(dsn=dsn) as web:
        moment = int(time.time()) // 10 * 10 - 60
        web.process(
            *(
                {"method": "GET", "path": "/", "status_code": 200, "timestamp": t}
                for t in (moment - 0.1, moment, moment + 9.9, moment + 10)
            )
        )
        asked = f"/api/metrics/request-rate?from={moment + 4.0001}&to={moment + 4.0002}"
        (point,) = await web.data(asked)
    assert (point["requestCount"], point["value"]) == (2, 0.2)
