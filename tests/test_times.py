"""Times as the API writes and reads them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.times import parse_rfc3339, rfc3339

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def test_time_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_795_421_640_999_999) == "2026-11-23T08:14:00.999Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T08:14:00Z",
        "2026-11-23t08:14:00z",
        "2026-11-23 08:14:00+00:00",
        "2026-11-23T13:44:00+05:30",
        "2026-11-22T20:14:00.000000-12:00",
    ],
)
def test_all_forms_of_a_moment_parse_alike(text: str) -> None:
    assert rfc3339(parse_rfc3339(text)) == "2026-11-23T08:14:00.000Z"


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-23", "2026-11-23T08:14:00", "2026-02-30T08:14:00Z", "2026-11-23Z"]
)
def test_text_that_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339(text)


@settings(deadline=None, max_examples=200)
@given(st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS))
def test_moment_survives_writing_and_parsing(moment: datetime) -> None:
    microseconds = parse_rfc3339(moment.isoformat())
    assert timedelta(microseconds=microseconds) == moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_rfc3339(rfc3339(microseconds)) == microseconds // 1000 * 1000
