"""JSON of the API is read into values, and any other JSON is refused."""

import pytest
from cli.api_samples import endpoint, message, overview

from aegisd.cli.top import api


def test_message_without_a_topic_gives_none() -> None:
    told = message()
    del told["data"]["backends"]
    assert api.parse_metrics(told) is None


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
        {"requestRate": [{"timestamp": "0001-01-01T00:00:00+23:59", "value": 1}]},
        {"requestRate": [{"timestamp": 5, "value": 1}]},
        {"requestRate": 5},
        {"topEndpoints": {"a": 1}},
        {"topEndpoints": [endpoint(path=None)]},
        {"backends": {"backends": [[]]}},
    ],
)
def test_value_that_the_api_does_not_promise_is_refused(topics) -> None:
    with pytest.raises(api.UnexpectedAnswer):
        api.parse_metrics(message(**topics))


@pytest.mark.parametrize("text", ["", "5", "[]", "{", "[" * 100_000, '{"a":1' + "0" * 5000 + "}"])
def test_text_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(api.UnexpectedAnswer):
        api.parse_object(text)
