"""Gives each request its endpoint: the gateway's route, else the user's pattern, else a template.

In a template a segment that identifies one thing among many becomes a placeholder, so that
``/users/123`` and ``/users/124`` are one endpoint. What tells it is how the segment looks:
``wire/identifiers``. Paths repeat, so what was found is remembered, in bounded memory.
"""

import re
import sys
from collections.abc import Sequence

import numpy as np

from aegisd.events.block import Block, Text
from aegisd.events.protocol import REQUEST
from aegisd.wire.naming.identifiers import may_identify, shown
from aegisd.wire.naming.patterns import Patterns
from aegisd.wire.privacy import has_query, route_without_query, without_query

MAX_REMEMBERED = 65_536
"""Paths whose template is remembered. When full, the older half is forgotten at once: a scan of
new paths costs no bookkeeping per look-up, and paths in use come back at their next event."""

MAX_REMEMBERED_BYTES = 320
"""Of a path in memory: 270 characters of ASCII, fewer of other scripts. Longer ones are rare and
would make the memory large: their endpoint is found each time."""

MAX_SEGMENTS = 32
"""Segments of a path that are looked at. What lies deeper is no API's, and costs nothing."""

_SLASHES = re.compile(r"(?<!:)/{2,}")  # not those of http://host/a, which a proxy is asked for


def plain(path: str) -> str:
    """``path`` without what makes no other endpoint: query, parameters, slashes in a row."""
    bare = without_query(path)
    return _SLASHES.sub("/", bare) if "//" in bare else bare


def template(path: str) -> str:
    """``path`` with those of its first segments that identify things replaced by ``{id}``."""
    return _template(plain(path))


def _template(path: str) -> str:
    if not may_identify(path):
        return path
    segments = path.split("/", MAX_SEGMENTS)
    looked_at = len(segments) - ("/" in segments[-1])
    return "/".join([shown(segments, i) for i in range(looked_at)] + segments[looked_at:])


class EndpointNamer:
    """Adds the ``endpoint`` column to request blocks.

    ``patterns`` are in the form of ``config/patterns``; the first that a path matches is its
    endpoint. Other paths have their template, or with ``templates`` off stay as they are. No
    endpoint holds a query or a path's parameters, whatever ``privacy.strip_query`` says of paths.
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
        if has_query(routes):
            routes = routes.map(route_without_query)
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
        bare = plain(path)
        endpoint = self._patterns.first(bare)
        if endpoint is None:
            endpoint = _template(bare) if self._templates else bare
        return path if endpoint == path else endpoint  # one text in memory, not two
