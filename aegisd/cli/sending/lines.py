"""The lines of a file or of standard input, in bounded memory."""

import sys
from collections.abc import Iterator
from typing import IO

from aegisd.errors import AegisdError


def standard_input() -> IO[bytes]:
    """Standard input as bytes. Raises AegisdError where it is closed."""
    if sys.stdin is None:
        raise AegisdError("can't read standard input: it is closed")
    return sys.stdin.buffer


def numbered_lines(file: IO[bytes], max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1. A longer line is cut to ``max_bytes`` + 1.

    Raises AegisdError where the file can't be read any further.
    """
    number = 1
    try:
        while line := file.readline(max_bytes + 1):
            rest = line
            while len(rest) > max_bytes and not rest.endswith(b"\n"):
                rest = file.readline(max_bytes + 1)
            yield number, line
            number += 1
    except OSError as error:
        raise AegisdError(f"can't read line {number}: {error.strerror}") from None
