"""The command that shows and sets what is kept for how many days."""

import asyncio
from pathlib import Path

import pytest
import trio
from support import Daemon, query, wait_until

from aegisd.config.load import Directories, load
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


def test_a_database_without_a_policy_says_what_sets_one(command, configured) -> None:
    outcome = command("policy", *configured(30))
    assert outcome.code == 1
    assert "run 'aegisd policy --set'" in outcome.err


def test_the_policy_is_set_by_one_configuration_and_shown_beside_another(
    command, configured
) -> None:
    assert (command("policy", "--set", *configured(30)).out) == DEFAULT
    shown = command("policy", *configured(7))
    assert shown.code == 0
    assert shown.out == DEFAULT.replace("days = 30\n", "days = 30  # 7 in this configuration\n", 1)
    assert command("policy", "--set", *configured(7)).code == 0
    assert command("policy", *configured(7)).out == DEFAULT.replace("= 30", "= 7", 1)


def test_a_database_that_is_away_or_without_the_schema_is_one_line(
    command, configured, dsn: str
) -> None:
    asyncio.run(query(dsn, "DROP TABLE elsewhere.aegisd_schema"))
    outcome = command("policy", *configured(30))
    assert outcome.code == 1
    assert "run 'aegisd migrate'" in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_policy_of_an_embedded_database_is_set_while_its_daemon_runs(daemon: Daemon) -> None:
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "the database is there")
    done = daemon.run("policy", "--set")
    assert (done.returncode, done.stdout) == (0, DEFAULT)
    daemon.stop()
    done = daemon.run("policy")
    assert done.returncode == 1
    assert done.stderr.endswith("an embedded database is there while its daemon runs\n")
