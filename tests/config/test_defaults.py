"""The defaults are the contract's."""

import tomllib
from pathlib import Path

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.config.settings import Settings
from aegisd.config.to_toml import as_toml_values

CONTRACT = """
node = "{hostname}"

[log]
level = "info"
format = "auto"

[ingest]
unix_datagram = "{runtime}/ingest.sock"
unix_stream = "{runtime}/stream.sock"
udp = "127.0.0.1:7460"
socket_mode = "0660"
socket_group = ""
receive_buffer_bytes = 8388608
max_message_bytes = 1048576

[metrics]
enabled = true
flush_interval_ms = 5000
batch_size = 10000
retention_days = 30
alert_retention_days = 365
[metrics.enabled_metrics]
requests = true
rate_limits = true
backends = true
system = true
[metrics.rollups]
ten_seconds_days = 2
minute_days = 30
hour_days = 730
[metrics.sampling]
enabled = false
rate = 1.0

[storage]
dsn = "embedded"
layout = "auto"
schema = "aegisd"
migrate = true
journal = "{state}/journal"
journal_max_bytes = 4294967296
journal_sync_ms = 200

[privacy]
client_ip = "full"
strip_query = true

[paths]
templates = true
max_endpoints = 2000

[http]
listen = "127.0.0.1:7460"
allowed_hosts = []
tls_certificate = ""
tls_key = ""
tokens = []

[dashboard.websocket]
enabled = true
path = "/ws/metrics"
update_interval_ms = 1000
max_connections_per_ip = 10
allowed_origins = []

[alerts]
enabled = true
check_interval_ms = 5000
default_cooldown_ms = 300000
[[alerts.rules]]
id = "high-error-rate"
name = "High Error Rate"
enabled = true
severity = "critical"
condition = { metric = "error_rate", operator = ">", threshold = 5, window = "5m" }
actions = [{ type = "log" }]
"""


def test_no_file_gives_the_defaults_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    settings = load(tmp_path / "empty.toml", {})
    assert settings == Settings()
    values = as_toml_values(settings)
    assert values["paths"].pop("patterns") == []  # grown beyond the contract
    assert values == tomllib.loads(CONTRACT)


def test_contract_example_is_a_valid_configuration(tmp_path: Path) -> None:
    (tmp_path / "contract.toml").write_text(CONTRACT)
    assert load(tmp_path / "contract.toml", {}) == Settings()


def test_configured_rules_replace_the_default_rule(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[alerts]\nrules = []")
    assert load(tmp_path / "c.toml", {}).alerts.rules == ()


def test_root_gets_system_directories() -> None:
    directories = Directories.of({"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"}, 0)
    assert (directories.runtime, directories.state) == (
        Path("/run/aegisd"),
        Path("/var/lib/aegisd"),
    )


def test_user_gets_xdg_directories() -> None:
    home = {"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/1000"}
    directories = Directories.of(home, 1000)
    assert directories.runtime == Path("/run/user/1000/aegisd")
    assert directories.state == Path("/home/a/.local/state/aegisd")
    moved = Directories.of(home | {"XDG_STATE_HOME": "/s"}, 1000)
    assert moved.state == Path("/s/aegisd")


def test_user_without_session_gets_runtime_directory_in_state() -> None:
    assert Directories.of({"HOME": "/home/a"}, 1000).runtime == Path(
        "/home/a/.local/state/aegisd/run"
    )


def test_first_of_systemds_directories_wins() -> None:
    given = {"RUNTIME_DIRECTORY": "/run/x:/run/y", "STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}
    for uid in (0, 1000):
        directories = Directories.of(given, uid)
        assert (directories.runtime, directories.state) == (Path("/run/x"), Path("/var/lib/x"))


def test_placeholders_are_replaced_anywhere_in_the_text() -> None:
    directories = Directories(Path("/r"), Path("/s"), "h")
    assert directories.expand("{runtime}/a {state}/b {hostname} {other}") == "/r/a /s/b h {other}"
