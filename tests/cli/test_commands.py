"""The command line itself: exit codes, --version, check-config, config."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from aegisd import __version__

RULES = """
[[alerts.rules]]
id = "a"
name = "A"
condition = { metric = "error_rate", operator = ">", threshold = 5, window = "5m" }
[[alerts.rules]]
id = "b"
name = "B"
condition = { metric = "error_rate", operator = ">", threshold = 5, window = "5m" }
[[alerts.rules]]
id = "c"
name = "C"
condition = { metric = "error_rate", operator = "=>", threshold = 5, window = "5m" }
"""
WRONG_OPERATOR = "alerts.rules[2].condition.operator: '=>' is not one of > < >= <= =="


def test_version_is_printed(command) -> None:
    outcome = command("--version")
    assert (outcome.code, outcome.out) == (0, f"aegisd {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("send",),
        ("import",),
        ("import", "--speed", "fast", "x.log"),
        ("import", "--speed", "0", "/dev/null"),
        ("import", "--speed", "1e-18", "/dev/null"),
        ("import", "--speed", "nan", "/dev/null"),
        ("import", "--format", "nonsense", "x.log"),
        ("check-config", "--nonsense"),
        ("send", "--to", "tcp:127.0.0.1:1", "path=/"),
        ("send", "--to", "unix:", "path=/"),
        ("send", "--to", "udp:nowhere", "path=/"),
        ("send", "--to", "udp:127.0.0.1:70000", "path=/"),
    ],
)
def test_wrong_usage_is_code_2_and_says_so(command, listener, arguments) -> None:
    if "--speed" in arguments:
        arguments = (*arguments, "--to", listener.address)
    outcome = command(*arguments)
    assert outcome.code == 2
    assert outcome.err
    assert not outcome.out
    assert "Traceback" not in outcome.err


def test_check_config_is_silent_about_a_right_file(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('node = "a"')
    outcome = command("check-config", "--config", tmp_path / "c.toml")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_check_config_prints_every_problem_on_a_line_of_its_own(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'nod = "a"\n[log]\nlevel = "loud"\n{RULES}')
    outcome = command("check-config", "--config", tmp_path / "c.toml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        WRONG_OPERATOR,
        "log.level: 'loud' is not one of debug info warning error",
        "nod: unknown key; the nearest known one is node",
    ]


def test_the_variable_names_the_file(command, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RULES)
    monkeypatch.setenv("AEGISD_CONFIG", str(tmp_path / "c.toml"))
    assert command("check-config").err == WRONG_OPERATOR + "\n"


def test_config_prints_toml_with_the_files_and_the_environments_values(
    command, monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text('node = "of the file"\n[log]\nlevel = "error"')
    monkeypatch.setenv("AEGISD_NODE", "of the environment")
    outcome = command("config", "--config", tmp_path / "c.toml")
    printed = tomllib.loads(outcome.out)
    assert outcome.code == 0
    assert printed["node"] == "of the environment"
    assert printed["log"]["level"] == "error"
    assert printed["metrics"]["batch_size"] == 10_000


def test_a_wrong_configuration_stops_commands_that_need_one(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("node = 5")
    for name in ("run", "config", "migrate"):
        outcome = command(name, "--config", tmp_path / "c.toml")
        assert (outcome.code, outcome.err) == (2, "node: 5 is not text\n")


def test_a_database_that_is_away_fails_migrate_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'[storage]\ndsn = "postgresql://u:hidden@/d?host={tmp_path}"')
    done = _process("migrate", "--config", str(tmp_path / "c.toml"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("aegisd: ")
    assert "hidden" not in done.stderr


def test_a_reader_that_has_enough_ends_a_command_without_noise() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = _process("config", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_standard_output_that_is_closed_is_no_failure_of_what_prints_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "c.toml").write_text('node = "a"')
    command = [sys.executable, "-m", "aegisd", "check-config", "--config", tmp_path / "c.toml"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def _process(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aegisd", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("hostile", ["\x9b31m", "\u202e", "\u2066", "\U000e0041"])
def test_no_text_of_the_configuration_is_obeyed_by_a_terminal(
    command, tmp_path: Path, hostile: str
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'[storage]\njournal = "/a{hostile}b"')
    printed = command("config", "--config", file).out
    assert printed.replace("\n", "").isprintable()
    assert tomllib.loads(printed)["storage"]["journal"] == f"/a{hostile}b"

    file.write_text(f'[log]\nlevel = "a{hostile}b"')
    outcome = command("check-config", "--config", file)
    assert outcome.code == 2
    assert outcome.err.startswith("log.level: ")
    assert outcome.err.removesuffix("\n").isprintable()
    outcome = command("check-config", "--config", tmp_path / f"a{hostile}b.toml")
    assert outcome.code == 2
    assert outcome.err.removesuffix("\n").isprintable()


def test_an_argument_that_is_shown_is_not_obeyed_by_a_terminal(command, tmp_path: Path) -> None:
    for arguments in (
        ("send", "--to", "tcp:\x9b31m\u202e", "path=/"),
        ("send", "--to", "unix:/nowhere/\x9b31m\u202e", "path=/"),
        ("import", "--to", "udp:127.0.0.1:9", tmp_path / "\x9b31m\u202e"),
        ("top", "--url", "http://\x9b31m\u202e"),
        ("run", "--\x9b31m\u202e"),
        ("\x9b31m\u202e",),
        ("journal", "\x9b31m\u202e"),
    ):
        outcome = command(*arguments)
        assert outcome.code in (1, 2)
        assert outcome.err.replace("\n", "").isprintable(), arguments
