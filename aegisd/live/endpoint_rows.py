"""Finds the rows of a block's endpoints at once.

Each method and each path in use has a code. A table has the row of each pair of codes. So a block
costs one look-up for each value of its text columns, and a few operations over whole arrays,
however many endpoints its values make.
"""

from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from aegisd.events.block import Integers, Text

Endpoint = tuple[str, str]
"""Method, and route, pattern or template: its path."""

NO_ROW = -1

MAX_METHODS = 16
"""So many methods get a code; HTTP has nine. ``find`` gives NO_ROW for the endpoints of further
methods, and ``row_of`` has them: slower, but a sender may use any number of methods."""


class EndpointRows:
    """The row of each endpoint; at most ``limit`` endpoints have one, until they are dropped.

    ``row_of`` is the truth. The codes and the table are made from it, and may lack the endpoints of
    methods without a code. Paths that are no longer in use keep their codes until all codes are
    given: then the codes of all paths in use are given anew.
    """

    def __init__(self, limit: int) -> None:
        self.row_of: dict[Endpoint, int] = {}
        self._max_paths = 2 * limit  # so at least half of the codes are out of use by then
        self._width = self._max_paths + 1
        # a line for each method, a column for each path, and the last of both for unknown ones
        self._table = np.full((MAX_METHODS + 1) * self._width, NO_ROW, np.int64)
        self._methods: dict[str | None, int] = {}  # a method's code is where its line starts
        self._paths: dict[str | None, int] = {}

    def find(self, methods: Text, paths: Text) -> Integers:
        """The row of each event's endpoint, NO_ROW if the table has none."""
        at = _codes(self._methods, MAX_METHODS * self._width, methods)
        at += _codes(self._paths, self._max_paths, paths)
        return self._table.take(at)

    def put(self, endpoint: Endpoint, row: int) -> None:
        """Give ``row`` to an endpoint that has none."""
        self.row_of[endpoint] = row
        if endpoint[1] not in self._paths and len(self._paths) == self._max_paths:
            self.replace(self.row_of)
        else:
            self._encode(endpoint, row)

    def drop(self, endpoint: Endpoint) -> None:
        """Take an endpoint's row away."""
        del self.row_of[endpoint]
        method, path = endpoint
        if method in self._methods and path in self._paths:
            self._table[self._methods[method] + self._paths[path]] = NO_ROW

    def replace(self, rows: dict[Endpoint, int]) -> None:
        """Drop all endpoints and put these."""
        self.row_of = rows
        self._table[:] = NO_ROW
        self._methods, self._paths = {}, {}
        for endpoint, row in rows.items():
            self._encode(endpoint, row)

    def _encode(self, endpoint: Endpoint, row: int) -> None:
        """Enter an endpoint's row in the table, unless its method gets no code."""
        method, path = endpoint
        if method not in self._methods and len(self._methods) == MAX_METHODS:
            return
        line = self._methods.setdefault(method, len(self._methods) * self._width)
        column = self._paths.setdefault(path, len(self._paths))
        self._table[line + column] = row


def _codes(codes: dict[str | None, int], unknown: int, text: Text) -> NDArray[np.intp]:
    """The code of each row's text, ``unknown`` if it has none."""
    found = np.fromiter(
        map(codes.get, text.values, repeat(unknown)), np.intp, count=len(text.values)
    )
    return found.take(text.index)
