"""``aegisd send``: events from a shell, checked before they go."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import wait_until

ESCAPE = Path(__file__).parents[2].parent / "shared/cases/08-escape.jsonl"
GOOD = b'{"method": "GET", "path": "/", "status_code": 200}\n'
REQUEST = ("method=GET", "path=/a", "status_code=200")


def test_pairs_make_one_event_with_typed_values(command, listener) -> None:
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


def test_value_with_equals_sign_or_json_stays_text_in_text_fields(command, listener) -> None:
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
def test_kind_option_sets_the_kind(command, listener, kind, pairs, expected) -> None:
    command("send", "--to", listener.address, "--kind", kind, *pairs)
    command("send", "--to", listener.address, f"kind={kind}", *pairs)
    assert listener.messages() == [{"kind": kind} | expected] * 2


def test_udp_address_sends_the_event(command, udp_listener) -> None:
    assert command("send", "--to", udp_listener.address, *REQUEST).code == 0
    (event,) = udp_listener.messages()
    assert event["status_code"] == 200


def test_configured_listener_is_the_default(command, listener, udp_listener, tmp_path: Path):
    path = listener.address.removeprefix("unix:")
    udp = udp_listener.address.removeprefix("udp:")
    config = tmp_path / "c.toml"
    for unix in (path, ""):
        config.write_text(f'[ingest]\nunix_datagram = "{unix}"\nudp = "{udp}"')
        assert command("send", "--config", config, *REQUEST).code == 0
    assert len(listener.messages()) == len(udp_listener.messages()) == 1


def test_configuration_without_datagram_listener_asks_for_an_address(
    command, tmp_path: Path
) -> None:
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
def test_event_that_would_be_rejected_is_not_sent(command, listener, pairs, reason) -> None:
    outcome = command("send", "--to", listener.address, *pairs)
    assert (outcome.code, outcome.err) == (1, f"aegisd: the event would be rejected: {reason}\n")
    assert listener.messages() == []


def test_old_event_is_sent(command, listener) -> None:
    assert command("send", "--to", listener.address, *REQUEST, "timestamp=1").code == 0
    (event,) = listener.messages()
    assert event["timestamp"] == 1


@pytest.mark.parametrize("pair", ["nonsense", "=5"])
def test_argument_that_is_no_pair_is_wrong_usage(command, listener, pair) -> None:
    outcome = command("send", "--to", listener.address, *REQUEST, pair)
    assert (outcome.code, outcome.err) == (2, f"'{pair}' is not key=value\n")
    assert listener.messages() == []


@pytest.mark.parametrize("value", ["9" * 30, "[" * 5000, "9" * 5000])
def test_huge_number_fails_in_one_line(command, listener, value) -> None:
    outcome = command("send", "--to", listener.address, *REQUEST, f"duration_ms={value}")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1


def test_each_line_is_sent_as_an_event(command, listener, stdin) -> None:
    events = [{"method": "GET", "path": f"/ü{i}", "status_code": 200 + i} for i in range(3)]
    text = "\n\n".join(json.dumps(event, ensure_ascii=i == 1) for i, event in enumerate(events))
    stdin(text.encode() + b"\n")
    assert command("send", "--to", listener.address, "-").code == 0
    assert listener.messages() == events


def test_kind_option_applies_to_lines_without_kind(command, listener, stdin) -> None:
    stdin(b'{"active_connections": 1}\n{"kind": "rate_limit", "key": "a", "allowed": true}\n')
    assert command("send", "--to", listener.address, "--kind", "system", "-").code == 0
    assert [event["kind"] for event in listener.messages()] == ["system", "rate_limit"]


@pytest.mark.parametrize(
    ("line", "why", "count"),
    [
        (b"nonsense", "is not JSON: ", "1 lines could not be read"),
        (b"\xff\xfe{}", "is not JSON: ", "1 lines could not be read"),
        (b"[" * 5000, "is not JSON: ", "1 lines could not be read"),
        (rb'{"path": "/\x22"}', "is not JSON: Invalid \\escape", "1 lines could not be read"),
        (b"[1]", "is not a JSON object\n", "1 lines could not be read"),
        (b"x" * 3_000_000, "is longer than 1048576 bytes\n", "1 lines could not be read"),
        (b'{"method": "GET"}', "would be rejected: missing_field path\n", "1 could not be sent"),
        (b'{"path": "\\ud800"}', "can't be sent: ", "1 could not be sent"),
        (b'{"path": ' + b"9" * 30 + b"}", "can't be sent: ", "1 could not be sent"),
    ],
)
def test_wrong_line_is_reported_and_the_others_are_sent(
    command, listener, stdin, line, why, count
) -> None:
    stdin(GOOD + line + b"\n" + GOOD)
    outcome = command("send", "--to", listener.address, "-")
    assert outcome.code == 1
    assert outcome.err.startswith(f"line 2 {why}")
    assert outcome.err.splitlines()[1].startswith("aegisd: 2 events sent, ")
    assert count in outcome.err
    assert len(listener.messages()) == 2


def test_event_too_large_for_a_datagram_is_reported_and_the_others_are_sent(
    command, udp_listener, stdin
) -> None:
    large = json.dumps({"method": "GET", "path": "/", "status_code": 200, "more": "x" * 70_000})
    larger_than_a_list = large.replace("x" * 30_000, "")
    stdin(GOOD + f"{large}\n{larger_than_a_list}\n".encode() + GOOD)
    outcome = command("send", "--to", udp_listener.address, "-")
    assert outcome.code == 1
    assert outcome.err.startswith("line 2 can't be sent: 70043 bytes are too large for a datagram")
    assert "aegisd: 3 events sent, 0 lines could not be read, 1 could not be sent\n" in outcome.err
    assert len(udp_listener.messages()) == 3


def test_single_event_too_large_for_a_datagram_fails_in_one_line(command, udp_listener) -> None:
    outcome = command("send", "--to", udp_listener.address, *REQUEST, f"more={'x' * 70_000}")
    assert (outcome.code, len(outcome.err.splitlines())) == (1, 1)
    assert "too large" in outcome.err


def test_first_five_wrong_lines_are_shown_and_all_are_counted(command, listener, stdin) -> None:
    stdin(b"nonsense\n" * 1000)
    outcome = command("send", "--to", listener.address, "-")
    assert outcome.code == 1
    assert "aegisd: 0 events sent, 1000 lines could not be read\n" in outcome.err
    assert len(outcome.err.splitlines()) < 10


def test_sent_events_are_counted_when_the_daemon_goes_away(listener) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aegisd", "send", "--to", listener.address, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        process.stdin.write(GOOD * 2)
        process.stdin.flush()
        received: list[bytes] = []
        wait_until(lambda: received.extend(listener.raw()) or len(received) == 2, "two events")
        listener.close()
        out, err = process.communicate(GOOD * 2, timeout=60)
    assert (process.returncode, out) == (1, b"")
    first, second = err.decode().splitlines()
    assert first.startswith(f"aegisd: can't send to {listener.address}: Connection refused; start")
    assert second == ("aegisd: 2 events sent, 0 lines could not be read, the rest was not sent")


def test_closed_standard_input_fails_in_one_line(listener) -> None:
    command = [sys.executable, "-m", "aegisd", "send", "--to", listener.address, "-"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "aegisd: can't read standard input: it is closed\n"


@pytest.mark.skipif(not ESCAPE.exists(), reason=f"{ESCAPE.name} is not there")
def test_recorded_lines_with_an_invalid_json_escape_are_reported(command, listener, stdin) -> None:
    stdin(ESCAPE.read_bytes())
    outcome = command("send", "--to", listener.address, "-")
    assert outcome.code == 1
    assert outcome.err.startswith("line 2 is not JSON: Invalid \\escape")
    assert [event["path"] for event in listener.messages()] == ["/before", "/after"]


def test_address_without_listener_fails_with_a_remedy(command, directory: Path) -> None:
    outcome = command("send", "--to", f"unix:{directory}/none.sock", *REQUEST)
    assert outcome.code == 1
    assert outcome.err == (
        f"aegisd: can't send to unix:{directory}/none.sock: No such file or directory; "
        "start aegisd, or name the address with --to\n"
    )


def test_socket_of_a_stopped_daemon_fails(command, listener) -> None:
    listener.close()
    outcome = command("send", "--to", listener.address, *REQUEST)
    assert outcome.code == 1
    assert "Connection refused" in outcome.err


def test_local_udp_port_without_listener_fails(command, udp_listener) -> None:
    udp_listener.close()
    outcome = command("send", "--to", udp_listener.address, *REQUEST)
    assert outcome.code == 1
    assert "Connection refused" in outcome.err


def test_timestamp_of_now_is_sent_unchanged(command, listener) -> None:
    now = round(time.time(), 3)
    command("send", "--to", listener.address, *REQUEST, f"timestamp={now}")
    assert listener.messages()[0]["timestamp"] == now
