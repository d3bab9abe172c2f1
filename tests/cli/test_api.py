"""JSON of the API is read into values, and any other JSON is refused."""

import json

import pytest
from cli.api_samples import endpoint, message, overview

from aegisd.cli.top import api


def test_message_of_the_api_is_read_into_values() -> None:
    metrics = api.parse(json.dumps(message()), api.Metrics)
    assert metrics.data.overview.requests_per_second == 1234.56
    assert metrics.data.status_distribution[1].status_5xx == 1
    assert metrics.timestamp.isoformat() == "2026-11-23T08:14:00+00:00"


@pytest.mark.parametrize(
    "topics",
    [
        {"overview": {}},
        {"overview": 5},
        {"overview": overview(errorRate="5")},
        {"overview": overview(errorRate=True)},
        {"overview": overview(errorRate=None)},
        {"overview": overview(totalRequests=float("inf"))},
        {"overview": overview(totalRequests=float("nan"))},
        {"overview": overview(totalRequests=10**400)},
        {"requestRate": [{"timestamp": "yesterday", "value": 1}]},
        {"requestRate": [{"timestamp": "2026-11-23T08:14:00", "value": 1}]},
        {"requestRate": [{"timestamp": 5, "value": 1}]},
        {"requestRate": 5},
        {"topEndpoints": {"a": 1}},
        {"topEndpoints": [endpoint(path=None)]},
        {"backends": {"backends": [[]]}},
    ],
)
def test_value_that_the_api_does_not_promise_is_refused(topics) -> None:
    with pytest.raises(api.UnexpectedAnswer):
        api.parse(json.dumps(message(**topics)), api.Metrics)


def test_message_without_a_topic_is_refused() -> None:
    told = message()
    del told["data"]["backends"]
    with pytest.raises(api.UnexpectedAnswer):
        api.parse(json.dumps(told), api.Metrics)


@pytest.mark.parametrize("text", ["", "5", "[]", "{", "[" * 100_000, '{"a":1' + "0" * 5000 + "}"])
def test_text_that_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(api.UnexpectedAnswer):
        api.parse(text, api.Message)
