"""The client of a line with virtual hosts or forwarded addresses in front."""

from pathlib import Path

import pytest

from aegisd.cli.sending.access_log import parse_combined

CASES = Path(__file__).parents[2].parent / "shared/cases"
REST = '[24/Nov/2026:10:00:01 +0000] "GET /one HTTP/1.1" 200 512 "-" "agent/1.0"'


@pytest.mark.parametrize(
    ("head", "client"),
    [
        ("192.0.2.1 - -", "192.0.2.1"),
        ("2001:db8::7 - ann", "2001:db8::7"),
        ("host.example - frank sinatra", "host.example"),
        ("host.example - - 192.0.2.1 -", "host.example"),
        ("unix: - -", "unix:"),
        ("- - -", None),
        # the virtual host in front
        ("example.org:80 192.0.2.1 - -", "192.0.2.1"),
        ("example.org 192.0.2.1 - -", "192.0.2.1"),
        ("example.org:443 2001:db8::7 - ann", "2001:db8::7"),
        ("example.org:80 unix: - -", "unix:"),
        ("example.org:80 host.example - -", "host.example"),
        ("example.org host.example - -", "host.example"),
        ("example.org:443:192.0.2.1 - -", "192.0.2.1"),
        ("example.org:443:2001:db8::7 - -", "2001:db8::7"),
        ("192.0.2.80:80:192.0.2.1 - -", "192.0.2.1"),
        ("example.org:80 - -", None),
        ("example.org:80 - - -", None),
        # forwarded addresses, and a proxy's behind
        ("192.0.2.1, 198.51.100.7 - -", "192.0.2.1"),
        ("192.0.2.1,198.51.100.7 - -", "192.0.2.1"),
        ("2001:db8::1, 198.51.100.7, 203.0.113.9 127.0.0.1 - -", "2001:db8::1"),
        ('"192.0.2.3, 198.51.100.7" 203.0.113.9 - -', "192.0.2.3"),
        ('example.org:80 "192.0.2.4, 198.51.100.7" 203.0.113.9 - -', "192.0.2.4"),
        ("- 192.0.2.5 - -", "192.0.2.5"),
        ('"-" 192.0.2.5 - -', "192.0.2.5"),
        ("unknown, 192.0.2.5 - -", "192.0.2.5"),
        ("192.0.2.6:51234 - -", "192.0.2.6"),
        ("[2001:db8::7]:51234 - -", "2001:db8::7"),
        ("[2001:db8::7] - -", "2001:db8::7"),
    ],
)
def test_client_is_the_first_address_else_the_last_name(head: str, client: str | None) -> None:
    event = parse_combined(f"{head} {REST}")
    assert event is not None
    assert event["client_ip"] == client


@pytest.mark.parametrize(
    ("case", "clients"),
    [
        (
            "01-vhost.log",
            [
                "192.0.2.1",
                "198.51.100.7",
                "2001:db8::7",
                "unix:",
                "203.0.113.9",
                "host-7.example.net",
            ],
        ),
        (
            "02-forwarded.log",
            [
                "192.0.2.1",
                "2001:db8::1",
                "192.0.2.3",
                "192.0.2.4",
                "192.0.2.5",
                "192.0.2.6",
                "2001:db8::7",
            ],
        ),
    ],
)
def test_clients_of_recorded_logs_are_found(case: str, clients: list[str]) -> None:
    if not (CASES / case).exists():
        pytest.skip(f"{case} is not there")
    events = map(parse_combined, (CASES / case).read_text().splitlines())
    assert [event and event["client_ip"] for event in events] == clients
