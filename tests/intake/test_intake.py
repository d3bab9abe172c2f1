"""The way of a burst: what is counted, what is kept, what reaches live state and store."""

import socket
from collections.abc import Iterator

import pytest
from sample_events import GOOD, MAX_AGE, NOW, pack, rows

from aegisd.config.settings import EnabledMetrics, Privacy
from aegisd.events.block import Block
from aegisd.ingest.burst import Burst
from aegisd.ingest.datagram import DatagramListener
from aegisd.intake.intake import MAX_RECENT_REJECTS, PREVIEW_BYTES, Intake
from aegisd.live.state import LiveState
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

ALL = list(GOOD.values())
SECRET = GOOD["request"] | {"path": "/users/7?token=1", "client_ip": "192.0.2.77"}


class Way:
    """An intake with a real listener's socket before it, and a list for a store behind it."""

    def __init__(self, bound: socket.socket, enabled: EnabledMetrics, privacy: Privacy) -> None:
        self.wall, self.steady = float(NOW), 10.0
        self.kept: list[list[Block]] = []  # a list for each burst
        self.live = LiveState(100, self.wall, self.steady)
        self.intake = Intake(
            Decoder(MAX_AGE, privacy, EndpointNamer(templates=True)),
            privacy,
            enabled,
            self.live,
            self.keep,
            lambda: (self.wall, self.steady),
        )
        self.listener = DatagramListener(bound, "unix:test", self.intake.take, ours=False)

    def take(self, *messages: object, oversize: int = 0) -> None:
        burst = Burst([pack(m) for m in messages], oversize=oversize)
        for _ in self.intake.take(self.listener, burst):
            pass

    def keep(self, blocks: list[Block]) -> None:
        self.kept.append(blocks)

    @property
    def stored(self) -> list[Block]:
        return [block for blocks in self.kept for block in blocks]

    def rejected(self) -> dict[str, int]:
        return {str(r): n for r, n in self.intake.figures.rejected.items() if n}


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        yield made


@pytest.fixture
def way(bound: socket.socket) -> Way:
    return Way(bound, EnabledMetrics(), Privacy())


def test_every_event_is_counted_by_kind_shown_and_stored(way: Way) -> None:
    way.take(ALL, GOOD["request"], {"events": ALL})
    figures = way.intake.figures
    assert figures.events == {"request": 3, "rate_limit": 2, "backend": 2, "system": 2}
    assert sum(block.size for block in way.stored) == 9
    overview = way.live.overview()
    assert (overview.totals["requests"], overview.totals["checked"]) == (3, 2)
    assert overview.active_connections == 7
    assert [backend.name for backend in overview.backends] == ["b"]
    assert (figures.altered, figures.disabled, way.rejected()) == (0, 0, {})


def test_what_came_in_one_burst_is_kept_together(way: Way) -> None:
    way.take(ALL, GOOD["request"])
    way.take(GOOD["request"])
    assert [sum(block.size for block in blocks) for blocks in way.kept] == [5, 1]


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("requests", "request"),
        ("rate_limits", "rate_limit"),
        ("backends", "backend"),
        ("system", "system"),
    ],
)
def test_a_kind_that_is_off_is_counted_as_disabled_and_goes_nowhere(
    bound: socket.socket, setting: str, kind: str
) -> None:
    way = Way(bound, EnabledMetrics(**{setting: False}), Privacy())
    way.take(ALL, ALL)
    figures = way.intake.figures
    assert figures.disabled == 2
    assert figures.events == dict.fromkeys(GOOD, 2) | {kind: 0}
    assert {block.kind for block in way.stored} == GOOD.keys() - {kind}
    overview = way.live.overview()
    shown = {
        "request": overview.totals["requests"],
        "rate_limit": overview.totals["checked"],
        "backend": len(overview.backends),
        "system": overview.active_connections,
    }
    assert {name for name, figure in shown.items() if not figure} == {kind}


def test_what_is_rejected_is_counted_by_reason(way: Way) -> None:
    bad = [5, {"kind": "x"}, {}, {"kind": 1}, GOOD["request"] | {"status_code": 1000}]
    way.take([*bad, *ALL, *bad], b"\xc1", {"source": "s", "seq": -1, "events": []}, oversize=2)
    assert way.rejected() == {
        "malformed": 3,
        "unknown_kind": 2,
        "missing_field": 2,
        "bad_type": 2,
        "out_of_range": 2,
        "bad_seq": 1,
        "oversize": 2,
    }
    assert sum(way.intake.figures.events.values()) == len(ALL)


def test_altered_texts_are_counted(way: Way) -> None:
    way.take([GOOD["request"] | {"path": "/\0", "method": "M" * 99}] * 3)
    assert way.intake.figures.altered == 6


def test_what_may_not_be_kept_reaches_neither_live_state_nor_store(bound: socket.socket) -> None:
    way = Way(bound, EnabledMetrics(), Privacy(client_ip="truncate"))
    way.take(SECRET)
    (row,) = rows(way.stored)
    assert (row["path"], row["endpoint"], row["client_ip"]) == (
        "/users/7",
        "/users/{id}",
        "192.0.2.0",
    )
    assert [f.path for f in way.live.top_endpoints(9)] == ["/users/{id}"]


def test_with_queries_kept_the_endpoint_still_has_none(bound: socket.socket) -> None:
    way = Way(bound, EnabledMetrics(), Privacy(strip_query=False))
    way.take(SECRET)
    (row,) = rows(way.stored)
    assert (row["path"], row["endpoint"]) == ("/users/7?token=1", "/users/{id}")
    way.take(SECRET | {"path": "/a//7;s=1?token=1"}, SECRET | {"route": "/users;s=1?token=1"})
    _, *others = rows(way.stored)
    assert [(row["path"], row["endpoint"]) for row in others] == [
        ("/a//7;s=1?token=1", "/a/{id}"),
        ("/users/7?token=1", "/users"),
    ]


def test_sources_are_followed(way: Way) -> None:
    way.take({"source": "s", "seq": 0, "events": ALL}, {"source": "s", "seq": 9, "events": []})
    known = way.intake.sources.known["s"]
    assert (known.received, known.lost) == (4, 5)


def test_a_reject_can_be_looked_at(way: Way) -> None:
    message = pack([GOOD["request"], {"method": "GET", "path": "/" + "x" * 100}] * 2)
    way.take(GOOD["request"], message)
    (recent,) = way.intake.figures.recent_rejects
    assert (recent.time, recent.listener, recent.count) == (NOW, "unix:test", 2)
    assert (recent.reason, recent.field) == ("missing_field", "status_code")
    assert recent.preview == message[:PREVIEW_BYTES].hex()


def test_a_reject_shows_the_message_it_came_in(way: Way) -> None:
    way.take(GOOD["request"], [], ALL, b"\xc1\x01", GOOD["request"])
    assert [recent.preview for recent in way.intake.figures.recent_rejects] == ["c101"]


def test_a_reject_shows_no_message_where_addresses_may_not_be_kept(bound: socket.socket) -> None:
    way = Way(bound, EnabledMetrics(), Privacy(client_ip="drop"))
    way.take(SECRET | {"status_code": -1})
    (recent,) = way.intake.figures.recent_rejects
    assert (recent.field, recent.preview) == ("status_code", "")


def test_a_preview_ends_where_a_query_begins_which_may_not_be_kept(bound: socket.socket) -> None:
    for sign in (b"?", b"#", b";"):
        message = pack({"path": f"/users/7{sign.decode()}token=1", "method": "GET"})
        for strip, shown in ((True, message[: message.index(sign)]), (False, message)):
            way = Way(bound, EnabledMetrics(), Privacy(strip_query=strip))
            way.take(message)
            (recent,) = way.intake.figures.recent_rejects
            assert bytes.fromhex(recent.preview) == shown


def test_only_the_latest_rejects_are_remembered(bound: socket.socket) -> None:
    way = Way(bound, EnabledMetrics(), Privacy(strip_query=False))  # some look like queries
    for number in range(MAX_RECENT_REJECTS + 20):
        way.take(b"\xc1" + bytes([number]))
    recent = way.intake.figures.recent_rejects
    assert [bytes.fromhex(r.preview)[1] for r in recent] == list(range(20, 70))
    assert way.rejected() == {"malformed": MAX_RECENT_REJECTS + 20}


def test_a_burst_of_one_kind_of_reject_leaves_the_others_to_be_seen(way: Way) -> None:
    way.take(b"\xc1")
    way.take([None] * 10_000 + [{"kind": "x"}] * 10_000)
    assert [(str(r.reason), r.count) for r in way.intake.figures.recent_rejects] == [
        ("malformed", 1),
        ("malformed", 10_000),
        ("unknown_kind", 10_000),
    ]


def test_an_empty_burst_only_lets_time_go_on(way: Way) -> None:
    way.take(GOOD["request"])
    way.wall, way.steady = NOW + 60, 70
    way.take()
    assert way.live.window("1m").counters["requests"] == 0
    assert way.live.window("5m").counters["requests"] == 1
