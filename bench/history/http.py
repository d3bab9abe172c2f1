"""The same over HTTP: a daemon on the month's database, queried as by a dashboard."""

import trio

from bench.history.measuring import Bar, Results, milliseconds, say
from bench.history.server import Database
from bench.receiver import Failed, fetch
from bench.storing import Storing

PATHS = ("overview", "latency", "top-endpoints")


class Daemon(Storing):
    """The daemon, and its URL."""

    @property
    def url(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self._http}"


async def over_http(database: Database, results: Results) -> None:
    """Thirty days; each request on a new connection."""
    say("over HTTP")
    daemon = Daemon(database.dsn)
    await trio.to_thread.run_sync(daemon.__enter__)
    try:
        for path in PATHS:
            url = f"{daemon.url}/api/metrics/{path}?range=30d"

            async def ask(url: str = url) -> None:
                if await trio.to_thread.run_sync(fetch, url) is None:
                    raise Failed(f"no answer from {url}")

            taken = await milliseconds(ask)
            results.bars.append(Bar(f"/{path}?range=30d over HTTP", taken, "ms", 50, 10))
    finally:
        await trio.to_thread.run_sync(daemon.close)
