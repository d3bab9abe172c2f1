"""``python -m torture``: the tests' faults, many more times; prints what was lost or doubled."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from uuid import uuid4

import trio
from support import query, short_directory
from torture.blunders import blunders
from torture.breaks import breaks, deaths
from torture.clocks import clock_steps
from torture.crashes import crash, plan, seed
from torture.outcome import Outcome
from torture.power import missing, power_cuts

from aegisd.store.embedded.cluster import embedded_postgres

ROUNDS_A_DATABASE = 20
"""After so many rounds the events in the database are counted, and another one is used."""

Rounds = Callable[[str, Path, int, Random], Outcome]


def crashes(dsn: str, directory: Path, rounds: int, random: Random) -> Outcome:
    return crash(dsn, directory, plan(rounds, random), random)


def postgres_deaths(_: str, directory: Path, rounds: int, random: Random) -> Outcome:
    return deaths(directory, rounds, random)


FAULTS: dict[str, tuple[Rounds, int]] = {
    "the daemon is killed": (crashes, 1),
    "the power is cut": (power_cuts, 5),
    "the line to Postgres breaks": (breaks, 5),
    "Postgres is killed": (postgres_deaths, 50),
    "a frame is no message": (blunders, 1),
    "the clock steps": (clock_steps, 1),
}
"""Each fault, and by how much the rounds asked for are divided: some faults take longer."""


async def torture(names: list[str], rounds: int, number: int) -> bool:
    """Do all rounds of these faults; return whether no event was lost or doubled."""
    random = Random(number)
    good = True
    with short_directory() as state:
        async with embedded_postgres(state) as dsn:
            for name in names:
                fault, part = FAULTS[name]
                if fault is power_cuts and (why := missing()) is not None:
                    print(f"{name}: left out, {why}", flush=True)
                    continue
                total = Outcome()
                while (left := max(1, rounds // part) - total.rounds) > 0:
                    total.add(await _some(fault, dsn, min(left, ROUNDS_A_DATABASE), random))
                    print(f"{name}: {total}", flush=True)
                good = good and total.is_good
    return good


async def _some(fault: Rounds, dsn: str, rounds: int, random: Random) -> Outcome:
    name = f"torture_{uuid4().hex}"
    await _ask(dsn, f"CREATE DATABASE {name}")
    own = dsn.replace("/aegisd?", f"/{name}?")
    with short_directory() as directory:
        result = await trio.to_thread.run_sync(fault, own, directory, rounds, random)
    await _ask(dsn, f"DROP DATABASE {name} WITH (FORCE)")
    return result


async def _ask(dsn: str, sql: str) -> None:
    await trio.to_thread.run_sync(_asked, dsn, sql)


def _asked(dsn: str, sql: str) -> None:
    asyncio.run(query(dsn, sql))


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=seed())
    parser.add_argument("--only", choices=[*FAULTS])
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    names = [arguments.only] if arguments.only else [*FAULTS]
    return 0 if trio.run(torture, names, arguments.rounds, arguments.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
