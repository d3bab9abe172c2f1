"""``aegisd top`` against the real daemon: printed, on a terminal, over lost connections."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from alerts.servers import certificate
from cli.tmux import Terminal, program
from hasty import hasty
from rich.cells import cell_len
from support import Daemon, short_directory, wait_until

CONFIG = """
[ingest]
udp = ""
[http]
listen = "{listen}"
[alerts]
check_interval_ms = 100
[dashboard.websocket]
update_interval_ms = 100
"""
NO_DATABASE = {"AEGISD_STORAGE__DSN": "postgresql://nobody@/none?host=/nonexistent"}
LOST = "connection lost, trying again"
HOSTILE = [
    "/\x1b]0;title\x07",
    "/\x1b[2J\x9b2J",
    "/\u202eevil",
    "/a\u0332\u0332\u0332\u0332",
    "/漢字",
]

Open = Callable[..., Terminal]
needs_tmux = pytest.mark.skipif(program() is None, reason="there is no tmux")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def config(listen: str | None = None) -> str:
    return CONFIG.format(listen=listen or f"127.0.0.1:{free_port()}")


def request(path: str, status: int = 200) -> dict[str, object]:
    return {"method": "GET", "path": path, "status_code": status, "duration_ms": 5}


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """A daemon with some hostile requests and no database, for tests that leave it as it is."""
    with short_directory() as directory:
        daemon = Daemon(directory, config(), NO_DATABASE)
        try:
            daemon.start()
            backends = [("up", "healthy"), ("down\x1b[31m", "unhealthy")]
            reports = [{"kind": "backend", "backend_name": n, "status": s} for n, s in backends]
            daemon.emit([request(path) for path in HOSTILE], reports)
            daemon.wait_for_events(len(HOSTILE) + len(reports))
            yield daemon
        finally:
            daemon.stop()
            daemon.kill()


@pytest.fixture
def away(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon that isn't started yet."""
    return make_daemon(config(), NO_DATABASE)


@pytest.fixture
def open_terminal() -> Iterator[Open]:
    """Runs ``aegisd top`` on terminals, and ends it after the test."""
    opened: list[Terminal] = []
    with ExitStack() as directories:

        def open_(
            daemon: Daemon,
            *arguments: str,
            columns: int = 80,
            rows: int = 24,
            prefix: Sequence[str] = (),
        ) -> Terminal:
            directory = directories.enter_context(short_directory())
            command = [*prefix, *daemon.command("top", *arguments)]
            opened.append(Terminal(directory, command, daemon.environment, columns, rows))
            return opened[-1]

        yield open_
        for terminal in opened:
            terminal.close()


def opened(terminal: Terminal) -> Terminal:
    terminal.wait_for(lambda: terminal.is_open and "aegisd" in terminal.text, "it is open")
    return terminal


def total(terminal: Terminal) -> str:
    """The total of requests that is shown."""
    return (terminal.rows[4].split() or [""])[0]


# without a terminal


def test_without_terminal_one_plain_screen_is_printed(shared) -> None:
    done = shared.run("top")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.removesuffix("\n").split("\n")
    assert len(lines) <= 24
    assert all(each.isprintable() and cell_len(each) <= 80 for each in lines)
    realtime = shared.get("/api/metrics/realtime")
    assert f"http://{shared.url.removeprefix('http://')}" in lines[0]
    assert lines[4].split()[0] == str(realtime["totalRequests"]) == str(len(HOSTILE))
    for shown in ("/�]0", "/�[2J�2J", "/�evil", "/a\u0332\u0332�", "/漢字", "down�[31m"):
        assert shown in done.stdout
    assert "earlier alerts are not known: the database is away" in done.stdout
    assert "quits" not in done.stdout


@needs_tmux
def test_dumb_terminal_gets_a_plain_screen(shared, open_terminal) -> None:
    terminal = open_terminal(shared, prefix=["env", "TERM=dumb"])
    assert terminal.end() == 0
    assert "endpoint, last hour" in terminal.text
    assert "\x1b" not in terminal.styled


def test_ascii_output_replaces_other_characters(shared) -> None:
    done = subprocess.run(
        shared.command("top"),
        env=shared.environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode("ascii").startswith(" aegisd  http://")


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize("path", ["", "/", "/ws/metrics"])
def test_url_option_names_the_daemon(shared, scheme: str, path: str) -> None:
    url = shared.url.replace("http", scheme) + path
    assert shared.run("top", "--url", url).returncode == 0


def test_websocket_path_comes_from_the_configuration(make_daemon) -> None:
    daemon = make_daemon(config() + 'path = "/live"', NO_DATABASE)
    daemon.start()
    for arguments in ((), ("--url", daemon.url), ("--url", f"{daemon.url}/live")):
        assert daemon.run("top", *arguments).returncode == 0
    done = daemon.run("top", "--url", f"{daemon.url}/ws/metrics")
    assert done.returncode == 1
    assert "HTTP 404: it has no WebSocket at this path (dashboard.websocket)" in done.stderr


@pytest.mark.parametrize("listen", ["[::1]", "0.0.0.0", "[::]"])
def test_daemon_listening_on_other_addresses_is_found_and_needs_a_token(
    make_daemon, listen: str
) -> None:
    tokens = f'tokens = [{{ name = "a", sha256 = "{hashlib.sha256(b"secret").hexdigest()}" }}]'
    listening = config(f"{listen}:{free_port()}").replace("[alerts]", f"{tokens}\n[alerts]")
    daemon = make_daemon(listening, NO_DATABASE)
    daemon.start()
    done = daemon.run("top")
    assert done.returncode == 1
    assert "HTTP 401: a token is needed, set AEGISD_TOKEN to a valid one" in done.stderr
    daemon.environment["AEGISD_TOKEN"] = "secret"
    done = daemon.run("top")
    assert (done.returncode, done.stderr) == (0, "")
    assert "HTTP 401" not in done.stdout


def test_https_trusts_the_configured_or_the_systems_certificates(
    make_daemon, directory: Path
) -> None:
    file = certificate(directory)
    keys = f'tls_certificate = "{file}"\ntls_key = "{file}"\n[alerts]'
    daemon = make_daemon(config().replace("[alerts]", keys), NO_DATABASE)
    daemon.start()
    url = daemon.url
    assert url.startswith("https:")
    done = daemon.run("top")  # the configuration names the certificate
    assert (done.returncode, done.stderr) == (0, "")
    done = daemon.run("top", "--url", url)
    assert done.returncode == 1
    assert "its certificate is not trusted" in done.stderr
    daemon.environment["SSL_CERT_FILE"] = str(file)
    for named in (url, url.replace("https", "wss")):
        assert daemon.run("top", "--url", named).returncode == 0


# a daemon that is away


def test_unreachable_daemon_exits_with_1_and_one_line(away, open_terminal) -> None:
    done = away.run("top")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"aegisd: can't watch http://127\.0\.0\.1:\d+: Connection refused;"
        r" start aegisd, or name it with --url\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 \x1b[31m\r\n\r\n",
        b"\x1b[2J rubbish\r\n\r\n",
    ],
)
def test_server_that_is_no_daemon_exits_with_1_and_one_line(away, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        done = away.run("top", "--url", f"http://127.0.0.1:{listening.getsockname()[1]}")
        serving.join()
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"aegisd: can't watch .*\n", done.stderr)
    assert done.stderr.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:7460", "ftp://a/", "http://", "http://:7460", "http://a:x", "http://a:0"),
        *("http://a:70000", "http://a/\x1b[31m", "http://a/ b", "http://[::1", "http://ä/"),
        "http://user:secret@a/",
    ],
)
def test_wrong_url_exits_with_2(command, url: str) -> None:
    outcome = command("top", "--url", url)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("--url: ")
    assert "secret" not in outcome.err
    assert outcome.err.removesuffix("\n").isprintable()


def test_unsendable_token_exits_with_2(command, monkeypatch) -> None:
    monkeypatch.setenv("AEGISD_TOKEN", "a\nb")
    outcome = command("top")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "AEGISD_TOKEN: has characters that can't be sent\n"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('http.listen = "127.0.0.1:0"', "http.listen leaves the port open"),
        ("dashboard.websocket.enabled = false", "dashboard.websocket.enabled"),
        ('http.tls_certificate = "/no/such.pem"\nhttp.tls_key = "/no"', "/no/such.pem"),
    ],
)
def test_configuration_without_a_reachable_address_exits_with_1(
    command, tmp_path: Path, setting, said
) -> None:
    (tmp_path / "c.toml").write_text(setting)
    outcome = command("top", "--config", tmp_path / "c.toml")
    assert (outcome.code, outcome.out) == (1, "")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


# on a terminal


@needs_tmux
@pytest.mark.parametrize("key", ["q", "Q", "C-c"])
def test_key_q_or_ctrl_c_ends_it_and_restores_the_terminal(shared, open_terminal, key) -> None:
    terminal = opened(open_terminal(shared))
    terminal.shows("q quits")
    terminal.press("x", "C-s", "Up", "F5")  # other keys do nothing
    shared_total = total(terminal)
    assert shared_total == str(len(HOSTILE))
    terminal.press(key)
    assert terminal.end() == 0
    terminal.wait_for(lambda: terminal.is_restored, "the screen is the shell's")


@needs_tmux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_and_restores_the_terminal(shared, open_terminal, number) -> None:
    terminal = opened(open_terminal(shared))
    os.kill(terminal.pid, number)
    assert terminal.end() == 0
    terminal.wait_for(lambda: terminal.is_restored, "the screen is the shell's")


@needs_tmux
def test_closed_terminal_ends_it(shared, open_terminal) -> None:
    terminal = opened(open_terminal(shared))
    pid = terminal.pid
    terminal.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it ended")


@needs_tmux
def test_ctrl_z_restores_the_screen_until_it_continues(shared, open_terminal) -> None:
    terminal = opened(open_terminal(shared))
    terminal.press("C-z")
    status = Path(f"/proc/{terminal.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    terminal.wait_for(lambda: terminal.is_restored, "the screen is the shell's")
    os.kill(terminal.pid, signal.SIGCONT)
    opened(terminal)
    terminal.press("q")
    assert terminal.end() == 0
    terminal.wait_for(lambda: terminal.is_restored, "the screen is the shell's")


@needs_tmux
def test_view_fits_the_terminal_after_a_resize_whatever_the_environment_says(
    shared, open_terminal
) -> None:
    terminal = opened(open_terminal(shared, prefix=["env", "COLUMNS=80", "LINES=24"]))
    for columns, rows in ((80, 24), (132, 50), (40, 8), (132, 24)):
        terminal.resize(columns, rows)
        # the first line ends with the time, the last one begins with the keys
        terminal.wait_for(
            lambda columns=columns, rows=rows: (
                len(terminal.rows) == rows
                and terminal.rows[0].startswith(" aegisd")
                and terminal.rows[0].endswith("UTC")
                and columns - 2 <= len(terminal.rows[0]) <= columns
                and terminal.rows[-1].startswith(" q quits")
            ),
            f"{columns}x{rows}",
        )
    terminal.resize(1, 1)
    terminal.press("q")
    assert terminal.end() == 0


@needs_tmux
def test_keys_sort_and_filter_the_endpoints(make_daemon, open_terminal) -> None:
    daemon = make_daemon(config(), NO_DATABASE)
    daemon.start()
    daemon.emit([request("/often")] * 3, [request("/fails", 500)] * 2)
    terminal = opened(open_terminal(daemon))

    def shown() -> list[str]:
        return re.findall(r"GET +/(\w+)", terminal.text)

    terminal.wait_for(lambda: shown() == ["often", "fails"], "most requests come first")
    terminal.press("s")
    terminal.wait_for(lambda: shown() == ["fails", "often"], "most errors come first")
    terminal.press("/")
    terminal.shows("filter:")
    terminal.press("O", "F")
    terminal.wait_for(lambda: shown() == ["often"], "only one passes the filter")
    terminal.press("Enter")
    terminal.shows("/ filter: OF")
    terminal.press("Escape")
    terminal.wait_for(lambda: shown() == ["fails", "often"], "all are shown again")
    terminal.press("q")
    assert terminal.end() == 0


@needs_tmux
def test_no_color_variable_turns_colors_off(shared, open_terminal) -> None:
    colored = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    terminal = open_terminal(shared)
    terminal.shows("unhealthy")
    assert colored.search(terminal.styled)
    terminal = open_terminal(shared, prefix=["env", "NO_COLOR=1"])
    terminal.shows("unhealthy")
    assert not colored.search(terminal.styled)


@needs_tmux
def test_escape_sequences_in_names_are_shown_as_text(shared, open_terminal) -> None:
    terminal = open_terminal(shared, rows=50)
    terminal.shows("/�]0")
    terminal.shows("down�[31m")
    assert terminal.tells("pane_title") != "title"
    assert "\u202e" not in terminal.text


@needs_tmux
def test_view_reconnects_to_a_restarted_daemon(away, open_terminal) -> None:
    daemon = away
    daemon.start()
    terminal = opened(open_terminal(daemon))
    daemon.emit([request("/before")] * 11)
    terminal.wait_for(lambda: total(terminal) == "11", "eleven requests")
    daemon.kill()
    terminal.shows(LOST)
    terminal.shows("Connection refused")
    assert "/before" in terminal.text  # the last figures stay
    daemon.start()
    terminal.wait_for(lambda: LOST not in terminal.text, "it is found again")
    terminal.wait_for(lambda: total(terminal) == "0", "the new daemon's figures")
    terminal.press("q")
    assert terminal.end() == 0


@needs_tmux
def test_key_q_ends_it_while_the_daemon_is_away(away, open_terminal) -> None:
    away.start()
    terminal = opened(open_terminal(away))
    away.kill()
    terminal.shows(LOST)
    terminal.press("q")
    assert terminal.end() == 0


@needs_tmux
def test_hanging_daemon_is_reported_as_lost(away, open_terminal) -> None:
    away.start()
    patience = hasty(
        {"cli.top.subscription.PING_SECONDS": 1, "cli.top.subscription.PONG_SECONDS": 1}
    )
    terminal = opened(open_terminal(away, prefix=patience))
    away.process.send_signal(signal.SIGSTOP)
    try:
        terminal.shows(f"{LOST} (no answer)")
    finally:
        away.process.send_signal(signal.SIGCONT)
    terminal.wait_for(lambda: LOST not in terminal.text, "it goes on")


# alerts


@needs_tmux
def test_earlier_and_new_alerts_are_shown_until_resolved(dsn, make_daemon, open_terminal) -> None:
    rules = """
        [[alerts.rules]]
        id = "errors"
        name = "Errors"
        severity = "critical"
        condition = { metric = "error_rate", operator = ">", threshold = 50, window = "5m" }
        [[alerts.rules]]
        id = "rate"
        name = "Some"
        condition = { metric = "request_rate", operator = ">", threshold = 0, window = "5m" }
    """
    daemon = make_daemon(config() + rules, {"AEGISD_STORAGE__DSN": dsn})
    daemon.start()
    daemon.emit(request("/"))
    wait_until(lambda: "Some" in daemon.fetch("/api/alerts?status=active")[1], "an alert is saved")
    assert "Some: request_rate is" in daemon.run("top").stdout

    terminal = open_terminal(daemon, columns=120)
    terminal.shows("Some: request_rate is")
    daemon.emit([request("/", 500)] * 2)
    terminal.shows("Errors: error_rate is 66.67 % over 5m (> 50 %)")
    daemon.emit([request("/")] * 20)
    terminal.wait_for(lambda: "Errors:" not in terminal.text, "it is resolved")
    terminal.shows("Some: request_rate is")
