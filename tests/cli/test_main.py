"""The command line itself: exit codes, what starts quickly, check-config, config, migrate."""

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


def test_version_option_prints_the_version(command) -> None:
    outcome = command("--version")
    assert (outcome.code, outcome.out) == (0, f"aegisd {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--version"], {"trio", "numpy", "cattrs", "aegisd.config", "aegisd.daemon"}),
        (["check-config"], {"trio", "numpy", "aegisd.daemon"}),
        (["send", "--to", "udp:127.0.0.1:9", "x=1"], {"trio", "asyncpg", "aegisd.daemon"}),
    ],
)
def test_command_does_not_import_heavy_modules(arguments: list[str], heavy: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aegisd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "aegisd.cli.main" in imported
    assert imported & heavy == set()


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
def test_wrong_usage_exits_with_2_and_a_message(command, listener, arguments) -> None:
    if "--speed" in arguments:
        arguments = (*arguments, "--to", listener.address)
    outcome = command(*arguments)
    assert outcome.code == 2
    assert outcome.err
    assert not outcome.out
    assert "Traceback" not in outcome.err


def test_check_config_prints_nothing_for_a_valid_file(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('node = "a"')
    outcome = command("check-config", "--config", tmp_path / "c.toml")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_check_config_prints_each_problem_on_its_own_line(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'nod = "a"\n[log]\nlevel = "loud"\n{RULES}')
    outcome = command("check-config", "--config", tmp_path / "c.toml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        WRONG_OPERATOR,
        "log.level: 'loud' is not one of debug info warning error",
        "nod: unknown key; the nearest known one is node",
    ]


def test_aegisd_config_variable_names_the_file(command, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RULES)
    monkeypatch.setenv("AEGISD_CONFIG", str(tmp_path / "c.toml"))
    assert command("check-config").err == WRONG_OPERATOR + "\n"


def test_config_prints_values_of_file_and_environment_as_toml(
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


def test_wrong_configuration_exits_with_2(command, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("node = 5")
    for name in ("run", "config", "migrate"):
        outcome = command(name, "--config", tmp_path / "c.toml")
        assert (outcome.code, outcome.err) == (2, "node: 5 is not text\n")


def test_migrate_without_database_fails_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'[storage]\ndsn = "postgresql://u:hidden@/d?host={tmp_path}"')
    done = _process("migrate", "--config", str(tmp_path / "c.toml"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("aegisd: ")
    assert "hidden" not in done.stderr


def test_closed_pipe_exits_with_1_without_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = _process("config", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_command_that_prints_nothing_succeeds_with_closed_stdout(
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
def test_unprintable_text_of_the_configuration_is_escaped(
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


def test_unprintable_argument_is_replaced_in_messages(command, tmp_path: Path) -> None:
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
