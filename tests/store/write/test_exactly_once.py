"""Each event is stored exactly once, whatever becomes of a transaction."""

from collections import Counter
from pathlib import Path

import pytest
import trio
from store.cluster import bounded
from store.databases import NODE, ask, block, database, eventually, requests, running, storage_in
from store.journals import files
from store.proxy import proxied
from structlog.testing import capture_logs

from aegisd.errors import DatabaseUnavailable
from aegisd.events.block import Block
from aegisd.store.database.postgres import Move
from aegisd.store.write import writer as writer_module

LAST = (b"COPY ", b"COMMIT")  # of a transaction with rows
PATHS = "SELECT path FROM request_metrics"
POSITION = "SELECT position, node FROM journals WHERE journal = $1"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_SECONDS", 0.05)


def numbered(first: int, count: int, poison: tuple[int, ...] = ()) -> Block:
    """Requests with their numbers as paths; Postgres refuses the poisoned ones."""
    paths = ("a\0b" if n in poison else f"/{n}" for n in range(first, first + count))
    return block("request", [{"path": path} for path in paths])


async def stored(dsn: str) -> list[int]:
    return sorted(int(path[1:]) for (path,) in await ask(dsn, PATHS))


@bounded
async def test_written_batch_moves_the_position_and_is_not_written_again(
    tmp_path: Path, dsn: str
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres, now=1000) as storage:
        storage.append([numbered(0, 7)])
        storage.writer.stop()
        await storage.writer.run()
        assert await ask(dsn, POSITION, storage.journal.uuid) == [(1007, NODE)]
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        storage.writer.stop()
        await storage.writer.run()
        assert storage.writer.figures.rows == 0
    assert await stored(dsn) == list(range(7))


@bounded
async def test_write_from_a_wrong_position_fails_and_moves_nothing(
    tmp_path: Path, dsn: str
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await postgres.prepare()
        journal = storage.journal.uuid
        await postgres.position(journal, NODE, 0)
        with pytest.raises(DatabaseUnavailable, match="moved by someone else"):
            await postgres.write([], Move(journal, NODE, 5, 9))
        assert await ask(dsn, POSITION, journal) == [(0, NODE)]
        assert await postgres.position(journal, NODE, 99) == 0


@pytest.mark.parametrize("delivered", [True, False])
@bounded
async def test_batch_is_stored_once_when_commit_or_its_answer_is_lost(
    tmp_path: Path, dsn: str, directory: Path, delivered: bool
) -> None:
    async with (
        database(None) as postgres,
        proxied(dsn, directory) as proxy,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer),
    ):
        postgres.dsn = proxy.dsn
        figures = storage.writer.figures
        for first in range(0, 50, 10):
            await eventually(lambda: figures.connected)
            await eventually(lambda: not storage.backlog.events)
            failures = figures.failures
            proxy.cut_at(*LAST, delivered=delivered)
            storage.append([numbered(first, 10)])
            await eventually(lambda: figures.failures > failures)  # noqa: B023
            assert len(await stored(dsn)) == first + 10 * delivered
            proxy.restore()
            await eventually(lambda: not storage.backlog.events)
            assert await stored(dsn) == list(range(first + 10))
            assert (figures.rows, figures.batches) == (first + 10, first // 10 + 1)


@bounded
async def test_events_appended_while_commit_is_unknown_are_stored_once(
    tmp_path: Path, dsn: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH_EVENTS", 7)
    async with (
        database(None) as postgres,
        proxied(dsn, directory) as proxy,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer),
    ):
        postgres.dsn = proxy.dsn
        await eventually(lambda: storage.writer.figures.connected)
        for number in range(200):
            if number % 20 == 0:
                proxy.cut_at(*LAST, delivered=number % 40 == 0)
            storage.append([numbered(number * 3, 3)])
            await trio.lowlevel.checkpoint()
            if number % 20 == 10:
                await eventually(lambda: not storage.writer.figures.connected)
                proxy.restore()
                await eventually(lambda: storage.writer.figures.connected)
        proxy.restore()
        await eventually(lambda: not storage.backlog.events)
        assert storage.writer.figures.rows == 600
    assert await stored(dsn) == list(range(600))


@bounded
async def test_next_start_after_a_lost_answer_writes_nothing_twice(
    tmp_path: Path, dsn: str, directory: Path
) -> None:
    async with proxied(dsn, directory) as proxy:
        async with (
            database(proxy.dsn) as postgres,
            storage_in(tmp_path, postgres) as storage,
            running(storage.writer),
        ):
            await eventually(lambda: storage.writer.figures.connected)
            proxy.cut_at(*LAST, delivered=True)
            storage.append([numbered(0, 10)])
            await eventually(lambda: not storage.writer.figures.connected)
            storage.append([numbered(10, 10)])
        assert await stored(dsn) == list(range(10))
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        storage.writer.stop()
        await storage.writer.run()
        assert storage.writer.figures.rows == 10
    assert await stored(dsn) == list(range(20))


@pytest.mark.parametrize("offset", [-5, 4])
@bounded
async def test_position_moved_by_someone_else_is_logged_and_writing_goes_on_from_it(
    tmp_path: Path, dsn: str, offset: int
) -> None:
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres) as storage,
    ):
        with capture_logs() as logs:
            async with running(storage.writer):
                storage.append([numbered(0, 10)])
                await eventually(lambda: storage.writer.figures.rows == 10)
                await ask(dsn, "UPDATE journals SET position = position + $1", offset)
                storage.append([numbered(10, 10)])
                await eventually(lambda: not storage.backlog.events)
                assert storage.writer.figures.failures == 1
    told = [line for line in logs if line["log_level"] == "warning"]
    assert len(told) == 1
    assert "moved by someone else" in told[0]["why"]
    assert await stored(dsn) == sorted([*range(10), *range(10 + offset, 20)])


@bounded
async def test_two_daemons_write_their_journals_side_by_side(tmp_path: Path, dsn: str) -> None:
    async with (
        database(dsn) as one,
        database(dsn) as other,
        storage_in(tmp_path / "one", one) as first,
        storage_in(tmp_path / "other", other) as second,
        running(first.writer),
        running(second.writer),
    ):
        for number in range(0, 200, 10):
            first.append([numbered(number, 5)])
            second.append([numbered(number + 5, 5)])
            await trio.lowlevel.checkpoint()
        await eventually(lambda: not first.backlog.events and not second.backlog.events)
        assert len(await ask(dsn, "SELECT * FROM journals")) == 2
    assert await stored(dsn) == list(range(200))


@pytest.mark.parametrize("poison", [(0,), (29,), (13,), (4, 5, 21), tuple(range(30))])
@bounded
async def test_refused_row_is_left_out_and_the_others_are_stored(
    tmp_path: Path, dsn: str, poison: tuple[int, ...]
) -> None:
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        for first in range(0, 30, 10):
            storage.append([numbered(first, 10, poison), block("system", [{}])])
        storage.writer.stop()
        with capture_logs() as logs:
            await storage.writer.run()
        figures = storage.writer.figures
        assert (figures.refused, figures.rows) == (len(poison), 33 - len(poison))
        assert figures.failures == 0
        assert await ask(dsn, POSITION, storage.journal.uuid) == [(33, NODE)]
    assert await stored(dsn) == [number for number in range(30) if number not in poison]
    assert await ask(dsn, "SELECT count(*) FROM system_metrics") == [(3,)]
    told = [line for line in logs if line["log_level"] == "error"]
    assert len(told) == len(poison)
    assert all("0x00" in line["why"] and line["kind"] == "request" for line in told)


@bounded
async def test_refused_row_of_an_earlier_run_stops_nothing(tmp_path: Path, dsn: str) -> None:
    async with database(None) as postgres, storage_in(tmp_path, postgres) as storage:
        storage.append([numbered(0, 10, (3,))])
    async with (
        database(dsn) as postgres,
        storage_in(tmp_path, postgres) as storage,
        running(storage.writer),
    ):
        await eventually(lambda: storage.writer.figures.refused == 1)
        storage.append([numbered(10, 5)])
        await eventually(lambda: not storage.backlog.events)
    assert await stored(dsn) == [n for n in range(15) if n != 3]


@bounded
async def test_commit_is_synchronous_where_the_database_has_it_off(
    tmp_path: Path, dsn: str
) -> None:
    """The journal deletes committed events: they must be on the disk."""
    name = dsn.partition("?")[0].rpartition("/")[2]
    await ask(dsn, f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        await postgres.prepare()
        await ask(dsn, "CREATE TABLE seen (setting text)")
        await ask(
            dsn,
            "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO seen SELECT current_setting('synchronous_commit'); RETURN NULL; END $$",
        )
        await ask(
            dsn,
            "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON journals"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see()",
        )
        storage.append([requests(1)])
        storage.writer.stop()
        await storage.writer.run()
    assert await ask(dsn, "SELECT setting FROM seen") == [("on",)]


@bounded
async def test_unreadable_file_of_the_journal_is_waited_for_and_nothing_is_dropped(
    tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database(None) as postgres, storage_in(tmp_path, postgres) as storage:
        storage.append([numbered(0, 10)])
    (file,) = files(tmp_path)
    async with database(dsn) as postgres, storage_in(tmp_path, postgres) as storage:
        hidden = file.rename(tmp_path / "hidden")
        file.symlink_to(file)
        async with running(storage.writer):
            await eventually(lambda: storage.writer.figures.failures > 2)
            assert "Too many levels" in str(storage.writer.figures.last_error)
            assert storage.backlog.load_oldest() is None
            file.unlink()
            hidden.rename(file)
            await eventually(lambda: not storage.backlog.events)
        assert storage.figures().dropped == 0
    assert Counter(await stored(dsn)) == Counter(range(10))
