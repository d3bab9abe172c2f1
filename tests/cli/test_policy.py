"""``aegisd policy``: shows and sets for how many days the database keeps what."""

import asyncio
from pathlib import Path

import pytest
import trio
from support import Daemon, query, wait_until

from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.daemon import migrate

CONFIG = '[storage]\ndsn = "{dsn}"\nschema = "elsewhere"\n[metrics]\nretention_days = {days}\n'
DEFAULT = (
    "metrics.retention_days = 30\n"
    "metrics.alert_retention_days = 365\n"
    "metrics.rollups.ten_seconds_days = 2\n"
    "metrics.rollups.minute_days = 30\n"
    "metrics.rollups.hour_days = 730\n"
)


@pytest.fixture
def configured(dsn: str, tmp_path: Path):
    """A database with the schema; gives the options of a configuration that keeps so many days."""

    def write(days: int) -> tuple[str, str]:
        file = tmp_path / f"{days}.toml"
        file.write_text(CONFIG.format(dsn=dsn, days=days))
        return ("--config", str(file))

    trio.run(migrate, load(Path(write(30)[1])), Directories.here(), None)
    return write


def test_database_without_policy_fails_with_a_remedy(command, configured) -> None:
    outcome = command("policy", *configured(30))
    assert outcome.code == 1
    assert "run 'aegisd policy --set'" in outcome.err


def test_policy_is_shown_with_the_days_that_differ_in_the_configuration(
    command, configured
) -> None:
    assert (command("policy", "--set", *configured(30)).out) == DEFAULT
    shown = command("policy", *configured(7))
    assert shown.code == 0
    assert shown.out == DEFAULT.replace("days = 30\n", "days = 30  # 7 in this configuration\n", 1)
    assert command("policy", "--set", *configured(7)).code == 0
    assert command("policy", *configured(7)).out == DEFAULT.replace("= 30", "= 7", 1)


def test_database_without_schema_fails_in_one_line(command, configured, dsn: str) -> None:
    asyncio.run(query(dsn, "DROP TABLE elsewhere.aegisd_schema"))
    outcome = command("policy", *configured(30))
    assert outcome.code == 1
    assert "run 'aegisd migrate'" in outcome.err
    assert outcome.err.count("\n") == 1


def test_policy_of_embedded_database_is_set_while_its_daemon_runs(daemon: Daemon) -> None:
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "the database is there")
    done = daemon.run("policy", "--set")
    assert (done.returncode, done.stdout) == (0, DEFAULT)
    daemon.stop()
    done = daemon.run("policy")
    assert done.returncode == 1
    assert done.stderr.endswith("an embedded database is there while its daemon runs\n")
