"""Finds the rows of many endpoints at once, by method and path.

Each method and each path in use has a code, and a table has the row of each pair of codes. So
a block costs a look-up for each of its texts, and a few operations over whole arrays for its
events, however many pairs its texts make.
"""

from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Integers, Text

Name = tuple[str, str]
"""Method and path."""

NOWHERE = -1

MAX_METHODS = 16
"""Methods with a code: HTTP has nine. ``find`` does not know the endpoints of others, which are
found by ``rows``: slower, and no bound to what a sender may call a method."""


class Names:
    """The row of each name; at most ``limit`` have one, and a name has it until it is dropped."""

    def __init__(self, limit: int) -> None:
        self.rows: dict[Name, int] = {}
        self._max_paths = 2 * limit  # codes are given anew once a half at least is out of use
        self._width = self._max_paths + 1
        # the last line and the last column are those of texts without a code
        self._table = np.full((MAX_METHODS + 1) * self._width, NOWHERE, np.int64)
        self._methods: dict[str | None, int] = {}  # where the method's line starts
        self._paths: dict[str | None, int] = {}

    def find(self, methods: Text, paths: Text) -> Integers:
        """The row of each event's name, NOWHERE where it is not known."""
        at = _codes(self._methods, MAX_METHODS * self._width, methods)
        at += _codes(self._paths, self._max_paths, paths)
        return self._table.take(at)

    def put(self, name: Name, row: int) -> None:
        """Give ``row`` to a name that has none."""
        self.rows[name] = row
        if name[1] not in self._paths and len(self._paths) == self._max_paths:
            self.replace(self.rows)
        else:
            self._encode(name, row)

    def drop(self, name: Name) -> None:
        """Take a name's row away."""
        del self.rows[name]
        method, path = name
        if method in self._methods and path in self._paths:
            self._table[self._methods[method] + self._paths[path]] = NOWHERE

    def replace(self, rows: dict[Name, int]) -> None:
        """Forget all names and know these."""
        self.rows = rows
        self._table[:] = NOWHERE
        self._methods, self._paths = {}, {}
        for name, row in rows.items():
            self._encode(name, row)

    def _encode(self, name: Name, row: int) -> None:
        method, path = name
        if method not in self._methods and len(self._methods) == MAX_METHODS:
            return
        line = self._methods.setdefault(method, len(self._methods) * self._width)
        column = self._paths.setdefault(path, len(self._paths))
        self._table[line + column] = row


def _codes(codes: dict[str | None, int], unknown: int, text: Text) -> NDArray[np.intp]:
    """The code of each event's text."""
    found = np.fromiter(
        map(codes.get, text.values, repeat(unknown)), np.intp, count=len(text.values)
    )
    return found.take(text.index)
