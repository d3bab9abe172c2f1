"""Lines of access logs, real and odd, as events."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.cli.sending.access_log import parse_combined, parse_time

TIME = "17/May/2015:10:05:03 +0000"
SECONDS = datetime(2015, 5, 17, 10, 5, 3, tzinfo=UTC).timestamp()


def line(
    client: str = "83.149.9.216",
    user: str = "-",
    time: str = TIME,
    request: str = "GET /a HTTP/1.1",
    rest: str = '200 203023 "http://example.com/" "Mozilla/5.0 (X; Y)"',
) -> str:
    return f'{client} - {user} [{time}] "{request}" {rest}'


def test_combined_line_becomes_a_request_event() -> None:
    assert parse_combined(line()) == {
        "timestamp": SECONDS,
        "method": "GET",
        "path": "/a",
        "status_code": 200,
        "client_ip": "83.149.9.216",
    }


@pytest.mark.parametrize("client", ["2001:db8::1", "::1", "host.example.com", "unix:"])
def test_client_may_be_an_address_or_a_name(client: str) -> None:
    assert parse_combined(line(client=client))["client_ip"] == client


@pytest.mark.parametrize("user", ["-", "frank", "frank sinatra", "frank [the] voice", '""'])
def test_user_may_have_spaces_and_brackets(user: str) -> None:
    assert parse_combined(line(user=user))["timestamp"] == SECONDS


@pytest.mark.parametrize(
    ("request_", "method", "path"),
    [
        ("POST /a?b=c HTTP/2.0", "POST", "/a?b=c"),
        ("GET /with space HTTP/1.1", "GET", "/with space"),
        ("GET /old", "GET", "/old"),
        ("-", "-", "-"),
        ("", "-", ""),
        (r"\x16\x03\x01\x00", "-", r"\x16\x03\x01\x00"),
        (r"GET /quoted\"path HTTP/1.1", "GET", r"/quoted\"path"),
        ("GET /back\\\\slash HTTP/1.1", "GET", "/back\\\\slash"),
        ("OPTIONS * HTTP/1.0", "OPTIONS", "*"),
    ],
)
def test_request_gives_method_and_path(request_: str, method: str, path: str) -> None:
    event = parse_combined(line(request=request_))
    assert (event["method"], event["path"]) == (method, path)


@pytest.mark.parametrize(
    "rest",
    [
        "200 -",
        "200 5",
        '200 5 "-" "-"',
        r'200 5 "a\"b" "c\"d"',
        '200 5 "-" "-" 0.003 "more"',
        '200 5 "-" "cut off',
    ],
)
def test_line_without_or_with_odd_size_referer_and_agent_is_read(rest: str) -> None:
    assert parse_combined(line(rest=rest))["status_code"] == 200


@pytest.mark.parametrize(
    ("offset", "seconds"), [("+0530", -19_800), ("-0800", 28_800), ("+0000", 0), ("-0000", 0)]
)
def test_offset_is_subtracted_from_the_time(offset: str, seconds: int) -> None:
    assert parse_time(f"17/May/2015:10:05:03 {offset}") == SECONDS + seconds


@pytest.mark.parametrize(
    "time",
    [
        "17/Mai/2015:10:05:03 +0000",
        "31/Feb/2015:10:05:03 +0000",
        "17/May/2015:25:05:03 +0000",
        "17/May/2015:10:05:03 +9900",
        "17/May/0000:10:05:03 +0000",
        "17/May/2015:10:05:03",
        "2015-05-17T10:05:03Z",
        "",
    ],
)
def test_line_with_invalid_time_gives_none(time: str) -> None:
    assert parse_time(time) is None
    assert parse_combined(line(time=time)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        line(rest="OK 5"),
        line(rest=""),
        line().replace('"GET', "GET"),
        "a b" + " [" * 8000,
        f"a b c{' [12345678901234567890123456] ' + chr(34)}" * 300,
    ],
)
def test_line_in_another_format_gives_none(text: str) -> None:
    assert parse_combined(text) is None


@settings(deadline=None, max_examples=200)
@given(st.text() | st.builds(line, st.text(), st.text(), st.text(), st.text(), st.text()))
def test_any_text_gives_an_event_or_none(text: str) -> None:
    event = parse_combined(text)
    assert event is None or set(event) == set(parse_combined(line()))


@settings(deadline=None, max_examples=200)
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_any_time_is_read_as_it_was_written(moment: datetime, offset: int) -> None:
    text = f"{moment:%d/%b/%Y:%H:%M:%S} {'-' if offset < 0 else '+'}"
    text += f"{abs(offset) // 60:02}{abs(offset) % 60:02}"
    expected = moment.replace(microsecond=0, tzinfo=UTC).timestamp() - offset * 60
    assert parse_time(text) == expected
