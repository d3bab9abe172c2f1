"""A real pgbouncer in transaction mode before the test's own database."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from support import wait_until

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

CONFIG = """
[databases]
{name} = host={host} port={port} dbname={name} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
"""

PREPARED = "max_prepared_statements = 0\n"
"""Releases from 1.21 on could keep statements; a daemon that needs that fails with the others."""


@contextmanager
def pooled(dsn: str, directory: Path) -> Iterator[str]:
    """The DSN of the same database through the pooler."""
    assert PROGRAM is not None
    parts = urlsplit(dsn)
    given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    password = unquote(parts.password or "")
    name, user = parts.path.strip("/"), parts.username
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = probe.getsockname()[1]
    config = directory / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            name=name,
            host=given["host"],
            port=given.get("port", 5432),
            user=user,
            password=password,
            listen=listen,
        )
        + (PREPARED if _version() >= (1, 21) else "")
    )
    config.chmod(0o644)
    # it refuses to run as root; who reads the cluster's socket directory is its owner
    account = {"user": Path(given["host"]).stat().st_uid} if os.geteuid() == 0 else {}
    process = subprocess.Popen([PROGRAM, config], stderr=subprocess.PIPE, cwd="/", **account)
    try:

        def stands() -> bool:
            assert process.poll() is None, process.stderr.read().decode()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", listen)) == 0

        wait_until(stands, "pgbouncer listens")
        yield f"postgresql://{user}@127.0.0.1:{listen}/{name}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _version() -> tuple[int, ...]:
    said = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.split()[1].split(".")[:2])
