"""The defaults of the settings are those of the contract."""

import tomllib
from pathlib import Path

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
trusted_proxies = []
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
    assert values["paths"].pop("patterns") == []  # grown beyond the contract, as are the next ones
    assert values["http"].pop("cors_origins") == []
    assert values["http"].pop("metrics_endpoints") == 0
    assert values == tomllib.loads(CONTRACT)


def test_contract_example_is_a_valid_configuration(tmp_path: Path) -> None:
    (tmp_path / "contract.toml").write_text(CONTRACT)
    assert load(tmp_path / "contract.toml", {}) == Settings()


def test_configured_rules_replace_the_default_rule(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[alerts]\nrules = []")
    assert load(tmp_path / "c.toml", {}).alerts.rules == ()
