"""Where settings come from: the file, the environment, files and variables for secrets."""

from pathlib import Path

import pytest

from aegisd.config.load import MAX_FILE_BYTES, load
from aegisd.errors import ConfigError

URL = "https://hooks.example.com/abc"
SLACK = """
[[alerts.rules]]
id = "a"
name = "A"
condition = {{ metric = "error_rate", operator = ">", threshold = 5, window = "5m" }}
actions = [{{ type = "slack", config = {{ webhook_url = {} }} }}]
"""


def problem_of(file: Path | None, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environment or {})
    (line,) = caught.value.problems
    return line


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "none") == f"{tmp_path}/none: No such file or directory"
    assert problem_of(tmp_path) == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize(
    "content",
    [b"node =", b"\xff", b"node = 'a'\nnode = 'b'", b"x = " + b"[" * 5000, b"x = " + b"1" * 5000],
)
def test_file_that_is_no_toml_gives_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    assert problem_of(file).startswith(f"{file}: not TOML: ")


def test_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"#" * MAX_FILE_BYTES)
    load(file, {})
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert problem_of(file) == f"{file}: larger than {MAX_FILE_BYTES} bytes"


def test_default_file_is_read_where_it_exists(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "aegisd.toml"
    monkeypatch.setattr("aegisd.config.load.DEFAULT_FILE", file)
    assert load(None, {}).node == "{hostname}"
    file.write_text("node = 'default'")
    assert load(None, {}).node == "default"
    (tmp_path / "named.toml").write_text("node = 'named'")
    assert load(None, {"AEGISD_CONFIG": str(tmp_path / "named.toml")}).node == "named"
    assert load(file, {"AEGISD_CONFIG": "/nonexistent"}).node == "default"


def test_default_file_without_permission_is_a_problem(tmp_path: Path, monkeypatch) -> None:
    out_of_reach = tmp_path / ("x" * 300)
    monkeypatch.setattr("aegisd.config.load.DEFAULT_FILE", out_of_reach)
    assert problem_of(None) == f"{out_of_reach}: File name too long"


def test_text_from_the_environment_is_taken_unchanged(read) -> None:
    environment = {
        "AEGISD_NODE": '"a" = b',
        "AEGISD_LOG__LEVEL": "error",
        "AEGISD_HTTP__LISTEN": "127.0.0.1:81",
        "AEGISD_STORAGE__DSN": "postgresql://h/d",
        "AEGISD_INGEST__UDP": "",
    }
    settings = read("node = 'file'\n[http]\nlisten = '127.0.0.1:80'", environment)
    assert settings.node == '"a" = b'
    assert settings.log.level == "error"
    assert settings.http.listen == "127.0.0.1:81"
    assert settings.storage.dsn == "postgresql://h/d"
    assert settings.ingest.udp == ""


def test_other_values_from_the_environment_are_read_as_toml(read) -> None:
    environment = {
        "AEGISD_METRICS__BATCH_SIZE": "5_000",
        "AEGISD_METRICS__SAMPLING__RATE": "0.5",
        "AEGISD_PRIVACY__STRIP_QUERY": "false",
        "AEGISD_HTTP__ALLOWED_HOSTS": '["a", "b"]',
        "AEGISD_HTTP__CORS_ORIGINS": '["https://A.example:443", "http://[::1]:80", "http://b:81"]',
        "AEGISD_ALERTS__RULES": "[]",
        "AEGISD_METRICS__ROLLUPS": "{ minute_days = 7 }",
        "OTHER": "ignored",
    }
    settings = read("", environment)
    assert settings.metrics.batch_size == 5000
    assert settings.metrics.sampling.rate == 0.5
    assert settings.privacy.strip_query is False
    assert settings.http.allowed_hosts == ("a", "b")
    assert settings.http.cors_origins == ("https://a.example", "http://[::1]", "http://b:81")
    assert settings.alerts.rules == ()
    assert settings.metrics.rollups.minute_days == 7


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("AEGISD_NODES", "a", "AEGISD_NODES: unknown key; the nearest known one is node"),
        (
            "AEGISD_HTTP__LISTN",
            "a",
            "AEGISD_HTTP__LISTN: unknown key; the nearest known one is http.listen",
        ),
        ("AEGISD_HTTP__LISTEN__X", "a", "AEGISD_HTTP__LISTEN__X: unknown key"),
        ("AEGISD_METRICS__BATCH_SIZE", "many", "AEGISD_METRICS__BATCH_SIZE: is not a value as"),
        ("AEGISD_METRICS__BATCH_SIZE", "'5'", "metrics.batch_size: '5' is not a whole number"),
        ("AEGISD_METRICS__BATCH_SIZE", "", "AEGISD_METRICS__BATCH_SIZE: is not a value as TOML"),
        ("AEGISD_HTTP__TOKENS", "[" * 5000, "AEGISD_HTTP__TOKENS: is not a value as TOML"),
        ("AEGISD_LOG__LEVEL", "loud", "log.level: 'loud' is not one of debug info warning error"),
    ],
)
def test_wrong_variable_gives_its_problem(problems, name: str, value: str, line: str) -> None:
    (found,) = problems("", {name: value})
    assert found.startswith(line)


def test_variable_that_is_no_toml_is_not_shown(problems) -> None:
    rules = '[{ actions = [{ config = { webhook_url = "https://hidden" } } }]'
    assert "hidden" not in "".join(problems("", {"AEGISD_ALERTS__RULES": rules}))


@pytest.mark.parametrize("value", ["5", "'text'", "[]", "[{}]"])
def test_variable_below_a_key_that_is_no_table_keeps_the_files_problem(
    problems, value: str
) -> None:
    environment = {"AEGISD_DASHBOARD__WEBSOCKET__PATH": "/a"}
    assert problems(f"dashboard = {value}", environment) == ["dashboard: is not a table"]
    assert problems(f"[dashboard]\nwebsocket = {value}", environment) == [
        "dashboard.websocket: is not a table"
    ]


def test_secret_is_read_from_text_file_or_variable(read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{URL}\n")
    for given in (f'"{URL}"', f'{{ file = "{tmp_path}/secret" }}', '{ env = "HOOK" }'):
        settings = read(SLACK.format(given), {"HOOK": URL})
        assert settings.alerts.rules[0].actions[0].webhook_url == URL
    dsn = "postgresql://u:p@h/d"
    assert read('[storage]\ndsn = { env = "DSN" }', {"DSN": dsn}).storage.dsn == dsn


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ('{ file = "/nonexistent" }', "can't read /nonexistent: No such file or directory"),
        ('{ env = "NONE" }', "the environment has no variable NONE"),
        ('{ env = "EMPTY" }', "is not an http:// or https:// address"),
        ('{ env = "A", file = "b" }', 'is not text, { file = "…" } or { env = "…" }'),
        ("{ env = 5 }", 'is not text, { file = "…" } or { env = "…" }'),
        ("5", 'is not text, { file = "…" } or { env = "…" }'),
        ('"hidden"', "is not an http:// or https:// address"),
        ('"http://[hidden"', "Invalid IPv6 URL"),
    ],
)
def test_wrong_secret_gives_its_problem_without_the_secret(
    problems, given: str, reason: str
) -> None:
    path = "alerts.rules[0].actions[0].config.webhook_url"
    assert problems(SLACK.format(given), {"EMPTY": ""}) == [f"{path}: {reason}"]


def test_secret_file_that_is_no_text_is_a_problem(problems, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    (line,) = problems(f'[storage]\ndsn = {{ file = "{tmp_path}/secret" }}')
    assert line == f"storage.dsn: can't read {tmp_path}/secret: not UTF-8 text"
