"""The same rows by COPY alone, made beforehand: in its binary format, and as CSV through psql."""

import io
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aegisd.config.settings import Privacy
from aegisd.events.block import Block, concatenate
from aegisd.store.embedded import programs
from aegisd.store.write import rows
from aegisd.wire import Decoder, EndpointNamer
from bench.cluster import TABLE, Database
from bench.receiver import Failed

NODE = "bench"
MICROSECONDS = 1_000_000
MAX_AGE = 86_400 * MICROSECONDS

COLUMNS = (
    "timestamp, method, path, endpoint, status_code, duration_ms, backend, client_ip,"
    " error_message, node, weight"
)


def blocks(frames: list[bytes], count: int) -> Block:
    """One block of ``count`` rows: messages as the daemon decodes them, repeated."""
    decoder = Decoder(MAX_AGE, Privacy(), EndpointNamer(templates=True))
    parts = decoder.decode(frames, time.time_ns() // 1000)
    once = concatenate(block for part in parts for block in part.blocks)[0]
    repeated = concatenate([once] * -(-count // once.size))[0]
    return repeated.part(0, count)


class Prebuilt:
    """Rows in COPY's format, in one piece of memory."""

    def __init__(self, block: Block) -> None:
        made = rows.table_rows(block, NODE)
        self.size = made.size
        self.columns = made.columns
        self.data = b"".join(made.chunks())

    def copy(self, database: Database) -> float:
        """Copy them in one COPY; return its seconds, COMMIT included."""

        async def work(connection: Any) -> float:
            start = time.perf_counter()
            await connection.copy_to_table(
                TABLE, source=io.BytesIO(self.data), columns=self.columns, format="binary"
            )
            return time.perf_counter() - start

        seconds = database.run(work)
        if (found := database.rows()) != self.size:
            raise Failed(f"{found:,} rows for {self.size:,}")
        return seconds


def as_csv(database: Database) -> bytes:
    """The table's rows as CSV."""

    async def work(connection: Any) -> bytes:
        out = io.BytesIO()
        await connection.copy_from_query(
            f"SELECT {_quoted()} FROM {TABLE}", output=out, format="csv"
        )
        return out.getvalue()

    return database.run(work)


def find_psql() -> Path | None:
    """The embedded Postgres' own psql, or the system's."""
    own = programs.Programs(Path()).folder / "psql"
    found = shutil.which("psql")
    return own if own.exists() else Path(found) if found else None


def psql(program: Path, database: Database, csv: bytes) -> float:
    """Copy CSV through psql; return its seconds, the program's start included."""
    command = [str(program), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]
    copy = f"\\copy {TABLE} ({_quoted()}) from pstdin csv"
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "-c", copy],
        input=csv,
        env=libpq_environment(database),
        capture_output=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise Failed(f"psql: {done.stderr.decode().strip()}")
    return seconds


def libpq_environment(database: Database) -> dict[str, str]:
    """The environment that libpq's programs find the database by."""
    parts = urlsplit(database.dsn)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {
        **os.environ,
        "PGHOST": query["host"],
        "PGPORT": query["port"],
        "PGUSER": parts.username or "",
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.lstrip("/"),
    }


def _quoted() -> str:
    return ", ".join(f'"{name.strip()}"' for name in COLUMNS.split(","))
