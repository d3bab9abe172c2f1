"""Shares the process' file descriptors between clients and the daemon's own work.

Without a free descriptor accept(2) fails, and so do the journal's next segment, its sync and the
database's connections. So each kind of client has a limit of connections, and the limits together
leave RESERVE descriptors.
"""

import resource

import structlog
from attrs import astuple, frozen

RESERVE = 256
"""For the journal, the database, listeners, mail and Python itself; some 40 are in use."""

log = structlog.get_logger()


@frozen
class Shares:
    """How many connections each kind of client may have."""

    stream: int
    http: int
    websocket: int


def shares(limit: int, wanted: Shares) -> Shares:
    """The wanted shares, or smaller ones in the same proportion where ``limit`` is too low."""
    room, sum_ = limit - RESERVE, sum(astuple(wanted))
    if room >= sum_:
        return wanted
    return Shares(*(max(1, room * share // sum_) for share in astuple(wanted)))


def provide(wanted: Shares) -> Shares:
    """Raise the soft limit as far as needed and allowed; return what each kind may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sum(astuple(wanted)) + RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    given = shares(needed if soft == resource.RLIM_INFINITY else soft, wanted)
    if given != wanted:
        log.warning(
            "fewer connections are taken than usual: the limit of open files is low; raise it"
            " (LimitNOFILE= of the unit, ulimit -n)",
            limit=soft,
            needed=needed,
            stream=given.stream,
            http=given.http,
            websocket=given.websocket,
        )
    return given
