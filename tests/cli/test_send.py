"""``aegisd send``: events from a shell, checked before they go."""

import json
import time
from pathlib import Path

import pytest

REQUEST = ("method=GET", "path=/a", "status_code=200")


def test_pairs_are_one_event_with_typed_values(command, listener) -> None:
    outcome = command(
        "send", "--to", listener.address, *REQUEST, "duration_ms=12.5", "backend=7", "client_ip=::1"
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert listener.messages() == [
        {
            "method": "GET",
            "path": "/a",
            "status_code": 200,
            "duration_ms": 12.5,
            "backend": "7",
            "client_ip": "::1",
        }
    ]


def test_camel_case_names_have_the_same_types(command, listener) -> None:
    pairs = ("method=GET", "path=/a", "statusCode=404", "errorMessage=12", "clientIp=10")
    assert command("send", "--to", listener.address, *pairs).code == 0
    (event,) = listener.messages()
    assert (event["statusCode"], event["errorMessage"], event["clientIp"]) == (404, "12", "10")


def test_a_value_may_hold_an_equals_sign_and_a_text_may_look_like_json(command, listener) -> None:
    command("send", "--to", listener.address, "method=GET", "path=/a?b=c", "status_code=200")
    command("send", "--to", listener.address, "method=GET", "path=null", "status_code=200")
    assert [event["path"] for event in listener.messages()] == ["/a?b=c", "null"]


@pytest.mark.parametrize(
    ("kind", "pairs", "expected"),
    [
        ("rate_limit", ("key=1", "allowed=false"), {"key": "1", "allowed": False}),
        (
            "backend",
            ("backend_name=a", "status=healthy", "responseTimeMs=3"),
            {"backend_name": "a", "status": "healthy", "responseTimeMs": 3},
        ),
        ("system", ("active_connections=5",), {"active_connections": 5}),
    ],
)
def test_kinds_other_than_requests_are_named(command, listener, kind, pairs, expected) -> None:
    command("send", "--to", listener.address, "--kind", kind, *pairs)
    command("send", "--to", listener.address, f"kind={kind}", *pairs)
    assert listener.messages() == [{"kind": kind} | expected] * 2


def test_udp_carries_events_too(command, udp_listener) -> None:
    assert command("send", "--to", udp_listener.address, *REQUEST).code == 0
    (event,) = udp_listener.messages()
    assert event["status_code"] == 200


def test_the_configured_listener_is_the_default(command, listener, udp_listener, tmp_path: Path):
    path = listener.address.removeprefix("unix:")
    udp = udp_listener.address.removeprefix("udp:")
    config = tmp_path / "c.toml"
    for unix in (path, ""):
        config.write_text(f'[ingest]\nunix_datagram = "{unix}"\nudp = "{udp}"')
        assert command("send", "--config", config, *REQUEST).code == 0
    assert len(listener.messages()) == len(udp_listener.messages()) == 1


def test_without_a_datagram_listener_an_address_is_asked_for(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[ingest]\nunix_datagram = ""\nudp = ""')
    outcome = command("send", "--config", tmp_path / "c.toml", *REQUEST)
    assert outcome.code == 1
    assert "--to" in outcome.err


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (("method=GET", "path=/a"), "missing_field status_code"),
        (("method=GET", "path=/a", "status_code=abc"), "bad_type status_code"),
        (("method=GET", "path=/a", "status_code=1000"), "out_of_range status_code"),
        ((*REQUEST, "duration_ms=-1"), "out_of_range duration_ms"),
        (("kind=nonsense", "a=b"), "unknown_kind kind"),
        ((*REQUEST, "timestamp=9999999999"), "out_of_range timestamp"),
    ],
)
def test_what_would_be_rejected_is_not_sent(command, listener, pairs, reason) -> None:
    outcome = command("send", "--to", listener.address, *pairs)
    assert (outcome.code, outcome.err) == (1, f"aegisd: the event would be rejected: {reason}\n")
    assert listener.messages() == []


def test_an_old_event_is_left_to_the_daemon_to_judge(command, listener) -> None:
    assert command("send", "--to", listener.address, *REQUEST, "timestamp=1").code == 0
    (event,) = listener.messages()
    assert event["timestamp"] == 1


@pytest.mark.parametrize("pair", ["nonsense", "=5"])
def test_what_is_no_pair_is_wrong_usage(command, listener, pair) -> None:
    outcome = command("send", "--to", listener.address, *REQUEST, pair)
    assert (outcome.code, outcome.err) == (2, f"'{pair}' is not key=value\n")
    assert listener.messages() == []


@pytest.mark.parametrize("value", ["9" * 30, "[" * 5000, "9" * 5000])
def test_monstrous_numbers_fail_in_one_line(command, listener, value) -> None:
    outcome = command("send", "--to", listener.address, *REQUEST, f"duration_ms={value}")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1


def test_lines_are_an_event_each(command, listener, stdin) -> None:
    events = [{"method": "GET", "path": f"/ü{i}", "status_code": 200 + i} for i in range(3)]
    text = "\n\n".join(json.dumps(event, ensure_ascii=i == 1) for i, event in enumerate(events))
    stdin(text.encode() + b"\n")
    assert command("send", "--to", listener.address, "-").code == 0
    assert listener.messages() == events


def test_the_kind_is_for_lines_that_name_none(command, listener, stdin) -> None:
    stdin(b'{"active_connections": 1}\n{"kind": "rate_limit", "key": "a", "allowed": true}\n')
    assert command("send", "--to", listener.address, "--kind", "system", "-").code == 0
    assert [event["kind"] for event in listener.messages()] == ["system", "rate_limit"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nonsense", "line 2 is not JSON"),
        (b"\xff\xfe{}", "line 2 is not JSON"),
        (b"[" * 5000, "line 2 is not JSON"),
        (b"[1]", "line 2 is not a JSON object"),
        (b'{"method": "GET"}', "line 2 would be rejected: missing_field path"),
    ],
)
def test_a_wrong_line_is_named_and_those_before_it_are_sent(
    command, listener, stdin, line, why
) -> None:
    good = b'{"method": "GET", "path": "/", "status_code": 200}'
    stdin(good + b"\n" + line + b"\n" + good + b"\n")
    outcome = command("send", "--to", listener.address, "-")
    assert outcome.code == 1
    assert outcome.err.startswith(f"aegisd: {why}")
    assert len(outcome.err.splitlines()) == 1
    assert len(listener.messages()) == 1


def test_an_address_without_a_listener_is_said_with_a_remedy(command, directory: Path) -> None:
    outcome = command("send", "--to", f"unix:{directory}/none.sock", *REQUEST)
    assert outcome.code == 1
    assert outcome.err == (
        f"aegisd: can't send to unix:{directory}/none.sock: No such file or directory; "
        "start aegisd, or name the address with --to\n"
    )


def test_a_socket_whose_daemon_is_gone_is_refused(command, listener) -> None:
    listener.close()
    outcome = command("send", "--to", listener.address, *REQUEST)
    assert outcome.code == 1
    assert "Connection refused" in outcome.err


def test_a_udp_port_of_this_host_without_a_listener_is_refused(command, udp_listener) -> None:
    udp_listener.close()
    outcome = command("send", "--to", udp_listener.address, *REQUEST)
    assert outcome.code == 1
    assert "Connection refused" in outcome.err


def test_a_timestamp_of_now_is_sent_as_it_stands(command, listener) -> None:
    now = round(time.time(), 3)
    command("send", "--to", listener.address, *REQUEST, f"timestamp={now}")
    assert listener.messages()[0]["timestamp"] == now
