import msgpack
import pytest
from sample_events import (
    DAY,
    GOOD,
    MAX_AGE,
    MICROSECONDS,
    NOW,
    decode,
    fault_of,
    faults,
    only,
    rows,
)

MAX_DURATION = 31 * DAY * 1000


def timestamp(value: object) -> int:
    return only(GOOD["request"] | {"timestamp": value})["timestamp"]


def duration(value: object) -> int:
    return only(GOOD["request"] | {"duration_ms": value})["duration_ms"]


@pytest.mark.parametrize(
    "value",
    [
        NOW - 5,
        float(NOW - 5),
        (NOW - 5) * 1000,
        (NOW - 5) * 1000.0,
        msgpack.Timestamp(NOW - 5),
    ],
)
def test_seconds_milliseconds_and_timestamps_mean_the_same_moment(value: object) -> None:
    assert timestamp(value) == (NOW - 5) * MICROSECONDS


def test_fractions_are_kept_to_the_microsecond() -> None:
    assert timestamp(NOW - 5 + 0.123456) == (NOW - 5) * MICROSECONDS + 123_456
    assert timestamp((NOW - 5) * 1000 + 0.5) == (NOW - 5) * MICROSECONDS + 500
    assert timestamp(msgpack.Timestamp(NOW - 5, 123_456_000)) == (NOW - 5) * MICROSECONDS + 123_456


def test_burst_may_mix_forms_of_timestamps() -> None:
    forms = [NOW, NOW * 1000, msgpack.Timestamp(NOW), None, float(NOW)]
    decoded = decode([GOOD["request"] | {"timestamp": form} for form in forms])
    assert [row["timestamp"] for row in rows(decoded.blocks)] == [NOW * MICROSECONDS] * 5


def test_1e11_itself_is_still_seconds() -> None:
    now = 100_000_000  # by which 1e11 would be now, were it milliseconds
    decoded = decode(GOOD["request"] | {"timestamp": 10**11}, now=now)
    assert faults(decoded) == [(0, "out_of_range", "timestamp")]
    above = decode(GOOD["request"] | {"timestamp": 10**11 + 1}, now=now)
    assert [row["timestamp"] for row in rows(above.blocks)] == [now * MICROSECONDS + 1000]


def test_timestamp_type_is_never_in_milliseconds() -> None:
    assert fault_of(GOOD["request"] | {"timestamp": msgpack.Timestamp(NOW * 1000)}) == (
        "out_of_range",
        "timestamp",
    )


@pytest.mark.parametrize("form", [lambda s: s, lambda s: s * 1000, msgpack.Timestamp.from_unix])
def test_five_minutes_ahead_is_the_limit(form: type) -> None:
    assert timestamp(form(NOW + 300)) == (NOW + 300) * MICROSECONDS
    assert fault_of(GOOD["request"] | {"timestamp": form(NOW + 301)}) == (
        "out_of_range",
        "timestamp",
    )


def test_greatest_age_is_the_limit() -> None:
    oldest = NOW - MAX_AGE // MICROSECONDS
    assert timestamp(oldest) == oldest * MICROSECONDS
    assert fault_of(GOOD["request"] | {"timestamp": oldest - 1}) == ("out_of_range", "timestamp")


def test_timestamp_type_may_lie_before_1970_and_is_then_too_old() -> None:
    for moment in (
        msgpack.Timestamp(-1),
        msgpack.Timestamp(-(2**63)),
        msgpack.Timestamp(2**63 - 1),
    ):
        assert fault_of(GOOD["request"] | {"timestamp": moment}) == ("out_of_range", "timestamp")


@pytest.mark.parametrize(
    ("milliseconds", "microseconds"),
    [
        (0, 0),
        (-0.0, 0),
        (1, 1000),
        (0.0004, 0),
        (0.0006, 1),
        (0.1, 100),
        (1.2345, 1234),  # half to even, as IEEE 754 rounds
        (12.3456, 12_346),
        (5e-324, 0),
        (MAX_DURATION, MAX_DURATION * 1000),
        (float(MAX_DURATION), MAX_DURATION * 1000),
    ],
)
def test_durations_are_kept_as_whole_microseconds(milliseconds: float, microseconds: int) -> None:
    assert duration(milliseconds) == microseconds
    backend = only(GOOD["backend"] | {"response_time_ms": milliseconds})
    assert backend["response_time_ms"] == microseconds


def test_float_of_32_bits_is_a_number_too() -> None:
    assert duration(0.5) == 500
    event = msgpack.packb(GOOD["request"] | {"duration_ms": 0.5}, use_single_float=True)
    assert only(event)["duration_ms"] == 500


def test_request_without_a_duration_has_none() -> None:
    assert duration(None) is None
    decoded = decode([GOOD["request"] | {"duration_ms": d} for d in (None, 0, None, 2)])
    assert [row["duration_ms"] for row in rows(decoded.blocks)] == [None, 0, None, 2000]
