"""A database as operators have it: what they detach, add, publish, pool, and don't allow.

The real daemon on a real Postgres. Whatever they did, all that can be stored is, and what can't is
left out, counted and named.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import trio
from hasty import hasty
from store.databases import database
from store.folds import Time
from support import Daemon, query, wait_until
from system import pooler

MakeStoring = Callable[..., Daemon]
Rows = Callable[..., list[tuple[Any, ...]]]

DAY_SECONDS = 86_400
NOW = time.time()
PATHS = "SELECT path FROM request_metrics ORDER BY path"
FOLDS_EVERY_SECOND = hasty(
    {
        "store.rollups.folding.FOLD_INTERVAL_SECONDS": 1,
        "store.upkeep.maintainer.FOLD_INTERVAL_SECONDS": 1,
    }
)


def request(path: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    moment = NOW - days_ago * DAY_SECONDS
    return {"method": "GET", "path": path, "status_code": 200, "timestamp": moment, **more}


def day(days_ago: int) -> str:
    return time.strftime("%Y%m%d", time.gmtime(NOW - days_ago * DAY_SECONDS))


@pytest.fixture
def storing(make_storing: MakeStoring) -> Daemon:
    """A running daemon whose tables are there."""
    daemon = make_storing()
    daemon.start()
    wait_until(lambda: daemon.get("/api/status")["database"]["connected"], "it has its tables")
    return daemon


def waiting_events(daemon: Daemon) -> int:
    """Events that are not in the database."""
    waiting: int = daemon.get("/api/status")["journal"]["events"]
    return waiting


def store(daemon: Daemon, *events: dict[str, Any]) -> None:
    """Send events, and wait until none waits."""
    before = sum(daemon.get("/api/ingest")["events"].values())
    daemon.emit(*events)
    daemon.wait_for_events(before + len(events))
    wait_until(lambda: waiting_events(daemon) == 0, f"all is stored: {daemon.log()}")


def refused_events(daemon: Daemon) -> int:
    left_out: int = daemon.get("/api/ingest")["dropped"]["database"]
    return left_out


def test_late_event_of_a_detached_day_gets_a_partition_of_another_name(
    storing: Daemon, rows: Rows
) -> None:
    store(storing, request("/before", 10))
    rows(f"ALTER TABLE request_metrics DETACH PARTITION request_metrics_{day(10)}")
    storing.stop()  # what it knows of partitions is asked anew
    storing.start()
    store(storing, request("/late", 10), request("/now"))
    assert rows(PATHS) == [("/late",), ("/now",)]
    where = "SELECT tableoid::regclass::text FROM request_metrics WHERE path = '/late'"
    assert rows(where) == [(f"request_metrics_{day(10)}_2",)]
    assert rows(f"SELECT path FROM request_metrics_{day(10)}") == [("/before",)], "the archive's"
    assert refused_events(storing) == 0


def test_day_detached_while_it_is_written_gets_a_new_partition(storing: Daemon, rows: Rows) -> None:
    store(storing, request("/before"))
    rows(f"ALTER TABLE request_metrics DETACH PARTITION request_metrics_{day(0)}")
    store(storing, request("/after"))
    assert rows(PATHS) == [("/after",)]
    assert refused_events(storing) == 0


def test_rows_of_days_in_a_default_partition_go_there(storing: Daemon, rows: Rows) -> None:
    rows("CREATE TABLE rest PARTITION OF request_metrics DEFAULT")
    moment = f"to_timestamp({NOW - 9 * DAY_SECONDS})"
    columns = '"timestamp", method, path, endpoint, status_code, node'
    rows(f"INSERT INTO request_metrics ({columns}) SELECT {moment}, 'GET', '/own', '/', 200, 'n'")
    store(storing, request("/late", 9), request("/now"))
    assert rows("SELECT path FROM rest ORDER BY 1") == [("/late",), ("/own",)]
    assert rows(PATHS) == [("/late",), ("/now",), ("/own",)]
    assert storing.log().count("a partition can't be made") == 1
    store(storing, request("/later", 9))
    assert storing.log().count("a partition can't be made") == 1, "it is not tried each time"


def test_foreign_partition_takes_its_rows_and_other_rows_are_left_out(
    storing: Daemon, rows: Rows
) -> None:
    """An operator's partition of a month begins at noon: rows of that morning have no place."""
    start = int(NOW - 20 * DAY_SECONDS) // DAY_SECONDS * DAY_SECONDS + DAY_SECONDS // 2
    bounds = f"FROM (to_timestamp({start})) TO (to_timestamp({start + 5 * DAY_SECONDS}))"
    rows(f"CREATE TABLE month PARTITION OF request_metrics FOR VALUES {bounds}")
    morning, evening = start - 3600, start + 3600
    store(
        storing,
        request("/morning") | {"timestamp": morning},
        request("/evening") | {"timestamp": evening},
        request("/now"),
    )
    assert rows(PATHS) == [("/evening",), ("/now",)]
    assert refused_events(storing) == 1
    assert "no partition of relation" in storing.log()


def test_view_on_an_old_partition_keeps_only_that_partition(
    storing: Daemon, dsn: str, rows: Rows
) -> None:
    """Forty days pass for a maintainer of the test's, on the daemon's database."""
    for days_ago in (3, 2, 1, 0):
        store(storing, request("/one", days_ago))
    storing.stop()
    rows(f"CREATE VIEW incident AS SELECT * FROM request_metrics_{day(2)}")

    async def forty_days_later() -> None:
        time = Time(int((NOW + 40 * DAY_SECONDS) * 1_000_000))
        async with database(dsn) as postgres:
            await postgres.prepare()
            keeper = time.keeper(postgres)
            for _ in range(4):
                await keeper.maintain()
                time.pass_(700)

    trio.run(forty_days_later)
    kept = "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
    old = [f"request_metrics_{day(days_ago)}" for days_ago in (3, 2, 1, 0)]
    assert [(name,) for name in old if (name,) in rows(kept)] == [(old[1],)]
    storing.start()
    store(storing, request("/later"))
    assert rows("SELECT count(*) FROM incident") == [(1,)]


CONSTRAINTS = {
    "check": ["ALTER TABLE request_metrics ADD CHECK (path <> '/bad')"],
    "trigger": [
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.path = '/bad' THEN RAISE EXCEPTION 'not this one'; END IF;
            RETURN NEW;
        END $$""",
        "CREATE TRIGGER refuse BEFORE INSERT ON request_metrics FOR EACH ROW"
        " EXECUTE FUNCTION refuse()",
    ],
    "a trigger that is broken": [
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.path = '/bad' THEN PERFORM * FROM nowhere; END IF;
            RETURN NEW;
        END $$""",
        "CREATE TRIGGER refuse BEFORE INSERT ON request_metrics FOR EACH ROW"
        " EXECUTE FUNCTION refuse()",
    ],
    "a trigger that asserts": [
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            ASSERT NEW.path <> '/bad', 'not this one';
            RETURN NEW;
        END $$""",
        "CREATE TRIGGER refuse BEFORE INSERT ON request_metrics FOR EACH ROW"
        " EXECUTE FUNCTION refuse()",
    ],
    "unique index": [
        'CREATE UNIQUE INDEX ON request_metrics ("timestamp", error_message)',
    ],
    "foreign key": [
        "CREATE TABLE known (backend text PRIMARY KEY)",
        "INSERT INTO known VALUES ('b')",
        "ALTER TABLE request_metrics ADD FOREIGN KEY (backend) REFERENCES known",
    ],
    "deferred foreign key": [
        "CREATE TABLE known (backend text PRIMARY KEY)",
        "INSERT INTO known VALUES ('b')",
        "ALTER TABLE request_metrics ADD FOREIGN KEY (backend) REFERENCES known"
        " DEFERRABLE INITIALLY DEFERRED",
    ],
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_rows_refused_by_a_constraint_are_left_out_and_others_stored(
    storing: Daemon, rows: Rows, kind: str
) -> None:
    for statement in CONSTRAINTS[kind]:
        rows(statement)
    good = [request(f"/{i:03}", backend="b", error_message=f"{i}") for i in range(200)]
    bad = request("/bad", backend="unknown", error_message="7")
    store(storing, *good[:100], bad, *good[100:], bad)
    paths = [path for (path,) in rows(PATHS)]
    assert [path for path in paths if path != "/bad"] == [f"/{i:03}" for i in range(200)]
    assert len(paths) == 200
    assert refused_events(storing) == 2
    assert storing.log().count("Postgres refused rows") == 1
    status = storing.get("/api/status")["flush"]
    assert status["rows"] == 200
    overview = storing.get("/api/metrics/overview?range=1h")
    assert overview["totalRequests"] == 202, "history counts what came, stored or not"


def test_table_that_refuses_all_rows_leaves_other_tables_written(
    storing: Daemon, rows: Rows
) -> None:
    rows("ALTER TABLE request_metrics ADD CHECK (false)")
    backend = {"kind": "backend", "backend_name": "b", "status": "healthy"}
    events = [request(f"/{i}") for i in range(2000)]
    store(storing, *events, backend)
    assert rows("SELECT backend_name FROM backend_metrics") == [("b",)]
    assert rows(PATHS) == []
    assert refused_events(storing) == 2000
    rows("ALTER TABLE request_metrics DROP CONSTRAINT request_metrics_check")
    store(storing, request("/again"))
    assert rows(PATHS) == [("/again",)]


def test_rows_wait_while_a_foreign_server_is_away(storing: Daemon, rows: Rows) -> None:
    """A Citus worker or a foreign server is away, and the session to the database lives on."""
    rows(
        "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not connect to server' USING ERRCODE = 'connection_failure';"
        " END $$"
    )
    rows("CREATE TRIGGER away BEFORE INSERT ON request_metrics FOR ROW EXECUTE FUNCTION away()")
    storing.emit(request("/waits"))
    wait_until(lambda: "could not connect" in storing.log(), "it is told")
    assert (waiting_events(storing), refused_events(storing)) == (1, 0)
    rows("DROP TRIGGER away ON request_metrics")
    wait_until(lambda: waiting_events(storing) == 0, "what waited is stored")
    assert rows(PATHS) == [("/waits",)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_publication_for_all_tables_changes_no_result(
    make_storing: MakeStoring, rows: Rows, when: str
) -> None:
    publish = "CREATE PUBLICATION everything FOR ALL TABLES"
    if when == "before":
        rows(publish)
    daemon = make_storing()
    daemon.start()
    store(daemon, request("/one", 1), request("/two"))
    if when == "after":
        rows(publish)
    store(daemon, request("/three", 1), request("/four", 3))
    assert len(rows(PATHS)) == 4
    for table in ("request_pieces", "request_rollups_1m", "endpoint_rollups_1d", "alerts"):
        rows(f"DELETE FROM {table}")
    rows("UPDATE request_metrics SET path = path")
    without = """
        SELECT relname FROM pg_class c WHERE relnamespace = 'aegisd'::regnamespace
        AND relkind IN ('r', 'p') AND relreplident = 'd'
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
    """
    assert rows(without) == []


@pytest.mark.skipif(pooler.PROGRAM is None, reason="pgbouncer is not installed")
def test_daemon_works_behind_pgbouncer_in_transaction_mode(
    dsn: str, make_storing: MakeStoring, rows: Rows, directory: Path
) -> None:
    directory.chmod(0o755)
    with pooler.pooled(dsn, directory) as through:
        daemon = make_storing(STORAGE__DSN=through)
        daemon.start(*FOLDS_EVERY_SECOND)
        for number in range(10):
            store(daemon, *(request(f"/{number}/{i}", number) for i in range(20)))
            overview = daemon.get("/api/metrics/overview?range=30d")
            assert overview["totalRequests"] == 20 * (number + 1)
            exact = daemon.get("/api/metrics/top-endpoints?range=30d&exact=true")
            assert exact
        folded = "SELECT count(*) FROM request_rollups_1d"
        wait_until(lambda: rows(folded) != [(0,)], "pieces are folded", 60)
        assert daemon.get("/api/status")["flush"]["failures"] == 0
        assert "can't be used" not in daemon.log()
        assert "failed" not in daemon.log()
        daemon.stop()
    assert len(rows(PATHS)) == 200


def test_granted_role_stores_events_of_today_and_tomorrow(
    dsn: str, make_storing: MakeStoring, rows: Rows
) -> None:
    role = f"lesser_{uuid4().hex}"
    rows(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    try:
        owner = make_storing()
        assert owner.run("migrate").returncode == 0
        start, _, rest = dsn.partition("//")
        poor = f"{start}//{role}:pw@{rest.partition('@')[2]}"
        daemon = make_storing(STORAGE__DSN=poor, STORAGE__MIGRATE="false")
        daemon.start(*FOLDS_EVERY_SECOND)
        daemon.emit(request("/now"))
        wait_until(lambda: "permission denied" in daemon.log(), "it says what is missing")
        done = owner.run("migrate", "--grant", role)
        assert (done.returncode, done.stderr) == (0, "")
        wait_until(lambda: waiting_events(daemon) == 0, "what waited is stored")
        store(daemon, request("/late", 20))
        assert rows(PATHS) == [("/late",), ("/now",)]
        tomorrow = f"SELECT count(*) FROM pg_inherits WHERE inhrelid = 'request_metrics_{day(-1)}'"
        there = f"SELECT to_regclass('request_metrics_{day(-1)}') IS NOT NULL"
        wait_until(lambda: rows(there) == [(True,)], "tomorrow's partition is made", 90)
        assert rows(f"{tomorrow}::regclass") == [(1,)]
        folded = "SELECT count(*) FROM request_rollups_1d"
        wait_until(lambda: rows(folded) != [(0,)], "pieces are folded", 90)
        assert "failed" not in daemon.log()
        daemon.stop()
        as_role = lambda sql: asyncio.run(query(poor, sql))  # noqa: E731 # three short uses
        as_role(f"SELECT aegisd_drop_partition('request_metrics_{day(20)}')")
        assert rows(PATHS) == [("/now",)]
        for harm in (
            "SELECT aegisd_drop_partition('alerts')",
            "SELECT aegisd_make_partition('alerts', 'alerts_20200101', now(), now())",
            "DROP TABLE alerts",
        ):
            with pytest.raises(asyncpg.PostgresError):
                as_role(harm)
    finally:
        rows(f"DROP OWNED BY {role}")
        rows(f"DROP ROLE {role}")


def test_grant_to_an_unknown_role_fails_with_its_name(make_storing: MakeStoring) -> None:
    done = make_storing().run("migrate", "--grant", "nobody_here")
    assert done.returncode == 1
    assert "there is no role nobody_here" in done.stderr


def test_late_event_of_a_day_in_a_foreign_table_is_left_out(
    storing: Daemon, rows: Rows, directory: Path
) -> None:
    """Archives are only read: their wrappers take no rows."""
    store(storing, request("/before", 10))
    rows(f"DROP TABLE request_metrics_{day(10)}")
    rows("CREATE FOREIGN DATA WRAPPER reading")
    rows("CREATE SERVER files FOREIGN DATA WRAPPER reading")
    bounds = "FROM (date_trunc('day', to_timestamp({0}), 'UTC')) TO (date_trunc('day',"
    bounds += " to_timestamp({1}), 'UTC'))"
    bounds = bounds.format(NOW - 10 * DAY_SECONDS, NOW - 9 * DAY_SECONDS)
    rows(
        f"CREATE FOREIGN TABLE archive PARTITION OF request_metrics FOR VALUES {bounds}"
        " SERVER files"
    )
    store(storing, request("/late", 10), request("/now"))
    assert rows(f"SELECT path FROM request_metrics_{day(0)}") == [("/now",)]
    assert refused_events(storing) == 1
    assert "foreign-data wrapper" in storing.log()


def test_tables_of_the_same_names_in_public_are_left_alone(
    make_storing: MakeStoring, rows: Rows
) -> None:
    for table in ("journals", "alerts", "request_metrics"):
        rows(f"CREATE TABLE public.{table} (of_others text)")
    daemon = make_storing()
    daemon.start()
    store(daemon, request("/one"))
    assert rows(PATHS) == [("/one",)]


def test_existing_installation_stays_in_its_schema(make_storing: MakeStoring, rows: Rows) -> None:
    before = make_storing(STORAGE__SCHEMA="public")
    before.start()
    store(before, request("/before"))
    before.stop()
    after = make_storing()
    after.start()
    store(after, request("/after"))
    assert rows("SELECT path FROM public.request_metrics ORDER BY 1") == [("/after",), ("/before",)]
    assert rows("SELECT to_regnamespace('aegisd') IS NULL") == [(True,)]


def test_deleted_row_of_journals_stores_no_event_twice(storing: Daemon, rows: Rows) -> None:
    store(storing, request("/one"))
    rows("DELETE FROM journals")
    store(storing, request("/two"))
    storing.stop()
    rows("DELETE FROM journals")
    storing.start()
    store(storing, request("/three"))
    assert rows(PATHS) == [("/one",), ("/three",), ("/two",)]
