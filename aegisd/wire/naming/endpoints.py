"""Gives each request its endpoint: the gateway's route, else a configured pattern, else a template.

In a template, each segment that identifies one thing among many is a placeholder, so that
``/users/123`` and ``/users/124`` are one endpoint. ``identifiers`` tells them by their look. Paths
repeat, so the endpoints of recent paths are remembered, in bounded memory.
"""

import re
import sys
from collections.abc import Sequence

import numpy as np

from aegisd.events.block import Block, Text
from aegisd.events.protocol import REQUEST
from aegisd.wire.naming.identifiers import may_identify, template_segment
from aegisd.wire.naming.patterns import Patterns
from aegisd.wire.privacy import has_query, route_without_query, without_query

MAX_REMEMBERED = 65_536
"""So many paths are remembered with their endpoints. If there are more, the older half is forgotten
at once: so a look-up needs no bookkeeping. Paths in use are found anew at their next event."""

MAX_REMEMBERED_BYTES = 320
"""A remembered path takes at most so much memory: 270 characters of ASCII, fewer of other scripts.
Longer ones are rare, and would take too much: their endpoint is found each time."""

MAX_SEGMENTS = 32
"""So many segments of a path are looked at. No API has deeper paths."""

_SLASHES = re.compile(r"(?<!:)/{2,}")  # but not in http://host/a, as clients ask a proxy


def _bare(path: str) -> str:
    """``path`` without query and parameters, and with single slashes."""
    bare = without_query(path)
    return _SLASHES.sub("/", bare) if "//" in bare else bare


def _template(path: str) -> str:
    """``path`` with ``{id}`` for each segment that identifies a thing."""
    if not may_identify(path):
        return path
    segments = path.split("/", MAX_SEGMENTS)
    looked_at = len(segments) - ("/" in segments[-1])
    return "/".join(
        [template_segment(segments, i) for i in range(looked_at)] + segments[looked_at:]
    )


class EndpointNamer:
    """Adds the ``endpoint`` column to request blocks.

    1. A request with a route: the route.
    2. A path that matches some of ``patterns``: the first of them (``config/patterns``).
    3. Another path: its template; with ``templates`` off, the path.

    An endpoint never has a query or parameters, whatever ``privacy.strip_query`` says of paths.
    """

    def __init__(self, *, templates: bool, patterns: Sequence[str] = ()) -> None:
        self._templates = templates
        self._patterns = Patterns(patterns)
        self._recent: dict[str, str] = {}  # endpoints by path
        self._older: dict[str, str] = {}  # the same; forgotten when _recent is full

    def name(self, block: Block) -> Block:
        """The block with its endpoints; each value of the column stands once."""
        if block.kind != REQUEST:
            return block
        routes, paths = block.texts["route"], block.texts["path"]
        if has_query(routes):
            routes = routes.map(route_without_query)
        if any(value is not None for value in routes.values):
            endpoint = self._routes_first(routes, paths)
        else:
            endpoint = paths.map(self.endpoint_of)
        # a thousand users' paths are one endpoint: it is counted as one
        return block.with_text("endpoint", endpoint.distinct())

    def _routes_first(self, routes: Text, paths: Text) -> Text:
        """The routes, and the endpoints of the paths in the rows without a route."""
        named = np.array([value is not None for value in routes.values], np.bool_)[routes.index]
        needed = np.zeros(len(paths.values), np.bool_)
        needed[paths.index[~named]] = True  # the other paths' endpoints are not looked for
        found = [
            self.endpoint_of(path) if use and path is not None else None
            for path, use in zip(paths.values, needed.tolist(), strict=True)
        ]
        index = np.where(named, routes.index, paths.index + np.int32(len(routes.values)))
        return Text([*routes.values, *found], index.astype(np.int32))

    def endpoint_of(self, path: str) -> str:
        """The endpoint of requests for ``path`` that have no route."""
        endpoint = self._recent.get(path)
        if endpoint is not None:
            return endpoint
        endpoint = self._older.get(path)
        if endpoint is None:
            endpoint = self._find_endpoint(path)
        if sys.getsizeof(path) <= MAX_REMEMBERED_BYTES:
            if len(self._recent) >= MAX_REMEMBERED // 2:
                self._older, self._recent = self._recent, {}
            self._recent[path] = endpoint
        return endpoint

    def _find_endpoint(self, path: str) -> str:
        bare = _bare(path)
        endpoint = self._patterns.first(bare)
        if endpoint is None:
            endpoint = _template(bare) if self._templates else bare
        return path if endpoint == path else endpoint  # one text in memory, not two
