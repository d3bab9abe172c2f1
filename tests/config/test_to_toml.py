"""``aegisd config`` shows no secret, and what it shows can be loaded."""

import attrs
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.config.libpq.conninfo import mask
from aegisd.config.to_toml import as_toml_values

EVERYTHING = """
node = "a\\"b"
[storage]
dsn = "postgresql://user:SECRET@[::1]:5432/db?sslpassword=SECRET&sslmode=require"
[http]
listen = "0.0.0.0:80"
tokens = [{ name = "ops", sha256 = "DIGEST", role = "admin" }]
[[alerts.rules]]
id = "a"
name = "A"
cooldown_ms = 5
condition = { metric = "latency_p95", operator = ">=", threshold = 0.5, window = "1h" }
[[alerts.rules.actions]]
type = "slack"
config = { webhook_url = "https://SECRET:SECRET@hooks.example.com:81/SECRET?SECRET" }
[[alerts.rules.actions]]
type = "webhook"
config = { url = "http://h/SECRET", secret = "SECRET", headers = { Authorization = "SECRET" } }
[[alerts.rules.actions]]
type = "email"
config = { to = "t", from = "f", host = "h", port = 25, username = "u", password = "SECRET" }
[[alerts.rules.actions]]
type = "log"
""".replace("DIGEST", "a1" * 32)


def test_printed_configuration_has_no_secret_and_loads_again(read) -> None:
    loaded = read(EVERYTHING)
    shown = tomli_w.dumps(as_toml_values(loaded))
    assert "SECRET" not in shown
    assert "hooks.example.com:81" in shown
    assert "postgresql://user:***@[::1]:5432/db?sslpassword=***&sslmode=require" in shown
    again = read(shown)
    assert tomli_w.dumps(as_toml_values(again)) == shown
    unmasked = attrs.evolve(
        again,
        storage=loaded.storage,
        alerts=attrs.evolve(
            again.alerts,
            rules=tuple(
                attrs.evolve(rule, actions=before.actions)
                for rule, before in zip(again.alerts.rules, loaded.alerts.rules, strict=True)
            ),
        ),
    )
    assert unmasked == loaded
    kinds = [type(action) for action in again.alerts.rules[0].actions]
    assert kinds == [type(action) for action in loaded.alerts.rules[0].actions]
    assert again.alerts.rules[0].actions[3] == loaded.alerts.rules[0].actions[3]


def test_completed_dsn_is_printed_with_masked_password(read) -> None:
    environment = {"PGPASSWORD": "SECRET", "PGHOST": "/run/a b"}
    shown = as_toml_values(read("[storage]\ndsn = 'postgresql:///d'", environment))
    assert shown["storage"]["dsn"] == "dbname=d host='/run/a b' password=***"


def test_empty_secret_stays_empty(read) -> None:
    text = EVERYTHING.replace('password = "SECRET"', 'password = ""')
    assert (
        as_toml_values(read(text))["alerts"]["rules"][0]["actions"][2]["config"]["password"] == ""
    )


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("embedded", "embedded"),
        ("postgresql://", "postgresql://"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql://[::1]:5432/db?options=a@b", "postgresql://[::1]:5432/db?options=a@b"),
        ("postgresql://u:a@h1:1,h2:2/db", "postgresql://u:***@h1:1,h2:2/db"),
        ("postgresql:///db?passfile=/x&password=a@b", "postgresql:///db?passfile=/x&password=***"),
        ("postgresql://h:1/db?password=a@b", "postgresql://h:1/db?password=***"),
        ("postgresql://u:a/b@h/db", "postgresql://u:***@h/db"),
    ],
)
def test_password_is_masked_in_any_dsn(dsn: str, shown: str) -> None:
    assert mask(dsn) == shown


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab:/?#@%&=[] "), min_size=1))
def test_password_with_any_characters_is_masked(middle: str) -> None:
    shown = mask(f"postgresql://user:HIDDEN{middle}HIDDEN@host/db")
    assert "HIDDEN" not in shown
    assert shown.endswith("@host/db")
