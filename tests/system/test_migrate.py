"""``aegisd migrate`` as operators run it, also many at once."""

import subprocess
from collections.abc import Callable
from typing import Any

from support import Daemon

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

TABLES = {
    "request_metrics",
    "rate_limit_metrics",
    "backend_metrics",
    "system_metrics",
    "alerts",
    "aegisd_schema",
}


def tables(rows: Rows) -> set[str]:
    return {name for (name,) in rows("SELECT tablename FROM pg_tables WHERE schemaname = 'aegisd'")}


def test_migrate_makes_the_tables_and_a_second_run_changes_nothing(
    make_storing: MakeStoring, rows: Rows
) -> None:
    aegisd = make_storing()
    assert aegisd.run("migrate").returncode == 0
    assert tables(rows) >= TABLES
    applied = rows("SELECT version, applied_at FROM aegisd_schema")
    assert aegisd.run("migrate").returncode == 0
    assert rows("SELECT version, applied_at FROM aegisd_schema") == applied


def test_twenty_migrations_at_once_all_succeed(make_storing: MakeStoring, rows: Rows) -> None:
    aegisd = make_storing()
    started = [
        subprocess.Popen(aegisd.command("migrate"), env=aegisd.environment, stderr=subprocess.PIPE)
        for _ in range(20)
    ]
    said = [one.communicate(timeout=120)[1].decode() for one in started]
    assert [one.returncode for one in started] == [0] * 20, "".join(said)
    versions = [version for (version,) in rows("SELECT version FROM aegisd_schema")]
    assert sorted(versions) == list(range(1, len(versions) + 1))
    assert tables(rows) >= TABLES


def test_migrate_starts_and_stops_the_embedded_postgres(
    make_daemon: Callable[..., Daemon],
) -> None:
    aegisd = make_daemon()
    assert aegisd.run("migrate").returncode == 0
    assert not (aegisd.state / "postgres/data/postmaster.pid").exists()
    aegisd.start()
    aegisd.emit({"method": "GET", "path": "/", "status_code": 200})
    aegisd.wait_for_rows(1)


def test_migrate_without_a_database_fails_with_one_line(make_storing: MakeStoring) -> None:
    aegisd = make_storing(STORAGE__DSN="postgresql://aegisd@127.0.0.1:1/aegisd")
    done = aegisd.run("migrate")
    assert done.returncode == 1
    assert done.stderr.startswith("aegisd: ")
    assert done.stderr.count("\n") == 1


def test_migrate_on_a_newer_schema_fails_with_one_line(
    make_storing: MakeStoring, rows: Rows
) -> None:
    aegisd = make_storing()
    assert aegisd.run("migrate").returncode == 0
    rows("INSERT INTO aegisd_schema (version, name) VALUES (9999, 'of a later aegisd')")
    done = aegisd.run("migrate")
    assert done.returncode == 1
    assert "has version 9999" in done.stderr
    assert done.stderr.count("\n") == 1
