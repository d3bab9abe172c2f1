"""Connections and backends of the last PRESENCE_SECONDS, from the stored reports."""

from collections.abc import Sequence

from aegisd.events.block import Block
from aegisd.events.protocol import BACKEND, HEALTHY, PRESENCE_SECONDS, SYSTEM
from aegisd.events.units import SECOND_US
from aegisd.store.database import Session
from aegisd.store.history.results import Present

COLUMNS = {
    SYSTEM: ("timestamp", "source", "active_connections"),
    BACKEND: ("timestamp", "backend_name", "status"),
}
"""The columns of reports that are read."""

_WHERE = '"timestamp" >= $1 AND "timestamp" < $2 AND ($3::text IS NULL OR node = $3)'


async def read(
    session: Session, now: int, node: str | None, own: str, buffered: Sequence[Block]
) -> Present:
    """The connections and backends at ``now`` (microseconds since 1970), by their latest reports.

    ``buffered`` are reports that the node ``own`` accepted and that are not in the database yet.
    """
    since = now - PRESENCE_SECONDS * SECOND_US
    systems = {
        (where, source): (moment, connections)
        for where, source, moment, connections in await session.fetch(
            'SELECT DISTINCT ON (node, source) node, source, "timestamp", active_connections'
            f' FROM system_metrics WHERE {_WHERE} ORDER BY node, source, "timestamp" DESC',
            since,
            now,
            node,
        )
    }
    backends = {
        name: (moment, status)
        for name, moment, status in await session.fetch(
            'SELECT DISTINCT ON (backend_name) backend_name, "timestamp", status'
            f' FROM backend_metrics WHERE {_WHERE} ORDER BY backend_name, "timestamp" DESC',
            since,
            now,
            node,
        )
    }
    for block in buffered:
        moments = block.numbers["timestamp"].tolist() if block.kind in (BACKEND, SYSTEM) else []
        for i, moment in enumerate(moments):
            if not since <= moment < now:
                continue
            if block.kind == SYSTEM:
                key = (own, block.texts["source"].row(i))
                connections = int(block.numbers["active_connections"][i])
                systems[key] = max(systems.get(key, (0, 0)), (moment, connections))
            else:
                name = block.texts["backend_name"].row(i)
                status = block.texts["status"].row(i)
                backends[name] = max(backends.get(name, (0, "")), (moment, status))
    return Present(
        sum(connections for _, connections in systems.values()),
        len(backends),
        sum(status == HEALTHY for _, status in backends.values()),
    )
