"""``aegisd token``: what it prints is a configuration that takes the token."""

import hashlib
import re

import pytest

from aegisd.config.load import load


@pytest.mark.parametrize(
    ("arguments", "role"),
    [((), "viewer"), (("--role", "viewer"), "viewer"), (("--role", "admin"), "admin")],
)
@pytest.mark.parametrize("name", ["ops", 'Zoë "the ops" \\', "-"])
def test_printed_entry_is_a_configuration_that_knows_the_token(
    command, tmp_path, arguments, role, name
) -> None:
    outcome = command("token", *arguments, "--", name)
    assert outcome.code == 0
    _, token, _, entry = outcome.out.splitlines()
    assert re.fullmatch(r"aegisd_[A-Za-z0-9_-]{43}", token)
    (tmp_path / "aegisd.toml").write_text(f"[http]\n{entry}")
    (known,) = load(tmp_path / "aegisd.toml", {}).http.tokens
    assert known.sha256 == hashlib.sha256(token.encode()).hexdigest()
    assert (known.name, known.role) == (name, role)


def test_each_call_makes_another_token(command) -> None:
    assert command("token", "ops").out != command("token", "ops").out


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "x" * 256, "\u202eops"])
def test_wrong_name_is_refused_and_no_token_is_made(command, name) -> None:
    outcome = command("token", name)
    assert outcome.code == 2
    assert "http.tokens[0].name: " in outcome.err
    assert outcome.out == ""


def test_wrong_role_is_wrong_usage(command) -> None:
    assert command("token", "ops", "--role", "root").code == 2
