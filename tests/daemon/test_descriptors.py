"""Shares of file descriptors, and the process' limit."""

import resource
import subprocess
import sys

import pytest

from aegisd.daemon.descriptors import RESERVE, Shares, shares

WANTED = Shares(stream=1000, http=500, websocket=500)

PROGRAM = """
import resource
from aegisd.daemon.descriptors import Shares, provide
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
given = provide(Shares(1000, 500, 500))
print(given.stream, given.http, given.websocket, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def provide_in_process(soft: int, hard: int) -> list[str]:
    """Call ``provide`` in a process with these limits; return the lines that it prints."""
    program = PROGRAM.replace("SOFT", str(soft)).replace("HARD", str(hard))
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("limit", [0, 1, RESERVE, 300, 1024, 2255])
def test_low_limit_is_shared_and_leaves_the_reserve(limit: int) -> None:
    given = shares(limit, WANTED)
    assert min(given.stream, given.http, given.websocket) >= 1
    assert given.stream + given.http + given.websocket <= max(3, limit - RESERVE)
    assert given != WANTED


def test_high_limit_gives_all_connections() -> None:
    assert shares(2000 + RESERVE, WANTED) == WANTED


def test_soft_limit_is_raised_as_far_as_needed() -> None:
    assert provide_in_process(1024, 4096) == [f"1000 500 500 {2000 + RESERVE}"]


def test_sufficient_soft_limit_stays() -> None:
    assert provide_in_process(4000, 4096) == ["1000 500 500 4000"]


def test_low_hard_limit_gives_fewer_connections_and_a_warning() -> None:
    *said, figures = provide_in_process(256, 1024)
    assert (
        figures == f"{(1024 - RESERVE) // 2} {(1024 - RESERVE) // 4} {(1024 - RESERVE) // 4} 1024"
    )
    assert "LimitNOFILE" in "".join(said)


def test_soft_limit_at_the_hard_limit_stays() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        assert provide_in_process(hard, hard) == [f"1000 500 500 {hard}"]
