"""Gives each request its endpoint: the gateway's route, else the user's pattern, else a template.

In a template a segment that identifies one thing among many becomes a placeholder, so that
``/users/123`` and ``/users/124`` are one endpoint: numbers, UUIDs, long hex and long tokens with
digits in them become ``{id}``. Paths repeat, so what was found is remembered, in bounded memory.
"""

import re
import sys
from collections.abc import Sequence

import numpy as np

from aegisd.wire.block import Block, Text
from aegisd.wire.patterns import Patterns
from aegisd.wire.privacy import without_query
from aegisd.wire.protocol import REQUEST

MAX_REMEMBERED = 65_536
"""Paths whose template is remembered. When full, the older half is forgotten at once: a scan of
new paths costs no bookkeeping per look-up, and paths in use come back at their next event."""

MAX_REMEMBERED_BYTES = 320
"""Of a path in memory: 270 characters of ASCII, fewer of other scripts. Longer ones are rare and
would make the memory large: their endpoint is found each time."""

MAX_SEGMENTS = 32
"""Segments of a path that are looked at. What lies deeper is no API's, and costs nothing."""

PLACEHOLDER = "{id}"

_IDENTIFIER = re.compile(
    r"""
      [+-]?\d+ (?: [.,:_-]\d+ )*                        # 123, -1, 2026-11-23, 1.2.3
    | [0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}      # a UUID (RFC 9562)
    | (?=[0-9a-f]*\d)[0-9a-f]{8,}                       # hex of 8 and more, a digit among it
    | (?=[^\d]*\d)(?=[^a-z]*[a-z])[0-9a-z_=-]{20,}      # tokens, ULIDs, base64url
    """,
    re.VERBOSE | re.IGNORECASE,
)


def template(path: str) -> str:
    """``path`` with those of its first segments that identify things replaced by ``{id}``."""
    segments = without_query(path).split("/", MAX_SEGMENTS)
    return "/".join(PLACEHOLDER if _IDENTIFIER.fullmatch(s) else s for s in segments)


class Endpoints:
    """Adds the ``endpoint`` column to request blocks.

    ``patterns`` are in the form of ``config/patterns``; the first that a path matches is its
    endpoint. Other paths have their template, or with ``templates`` off stay as they are.
    """

    def __init__(self, *, templates: bool, patterns: Sequence[str] = ()) -> None:
        self._templates = templates
        self._patterns = Patterns(patterns)
        self._recent: dict[str, str] = {}
        self._older: dict[str, str] = {}

    def name(self, block: Block) -> Block:
        """The block with its endpoints, each distinct one once."""
        if block.kind != REQUEST:
            return block
        routes, paths = block.texts["route"], block.texts["path"]
        if any(value is not None for value in routes.values):
            endpoint = self._routes_first(routes, paths)
        else:
            endpoint = paths.map(self._endpoint)
        # a thousand users' paths are one endpoint, and weigh as one where places are given
        return block.with_text("endpoint", Text.coded(endpoint.values, endpoint.index))

    def _routes_first(self, routes: Text, paths: Text) -> Text:
        named = np.array([value is not None for value in routes.values], np.bool_)[routes.index]
        needed = np.zeros(len(paths.values), np.bool_)
        needed[paths.index[~named]] = True  # only these paths' templates are looked for
        found = [
            self._endpoint(path) if use and path is not None else None
            for path, use in zip(paths.values, needed.tolist(), strict=True)
        ]
        index = np.where(named, routes.index, paths.index + np.int32(len(routes.values)))
        return Text([*routes.values, *found], index.astype(np.int32))

    def _endpoint(self, path: str) -> str:
        endpoint = self._recent.get(path)
        if endpoint is not None:
            return endpoint
        endpoint = self._older.get(path)
        if endpoint is None:
            endpoint = self._found(path)
        if sys.getsizeof(path) <= MAX_REMEMBERED_BYTES:
            if len(self._recent) >= MAX_REMEMBERED // 2:
                self._older, self._recent = self._recent, {}
            self._recent[path] = endpoint
        return endpoint

    def _found(self, path: str) -> str:
        bare = without_query(path)
        endpoint = self._patterns.first(bare)
        if endpoint is None:
            endpoint = template(bare) if self._templates else bare
        return path if endpoint == path else endpoint  # one text in memory, not two
