"""A burst on its way: what is counted, what is kept, what reaches live state and store."""

import socket
from collections.abc import Iterator

import pytest
from sample_events import GOOD, MAX_AGE, NOW, pack, rows

from aegisd.config.settings import Privacy
from aegisd.events.block import Block
from aegisd.events.protocol import KINDS
from aegisd.ingest.burst import Burst
from aegisd.ingest.datagram import DatagramListener
from aegisd.intake.figures import SourceFigures
from aegisd.intake.intake import MAX_RECENT_REJECTS, PREVIEW_BYTES, Intake
from aegisd.live.state import LiveState
from aegisd.wire.decode import Decoder
from aegisd.wire.naming.endpoints import EndpointNamer

ALL = list(GOOD.values())
SECRET = GOOD["request"] | {"path": "/users/7?token=1", "client_ip": "192.0.2.77"}


class Harness:
    """An intake with a real listener's socket before it, and a list for a store behind it."""

    def __init__(
        self, bound: socket.socket, privacy: Privacy, kinds: frozenset[str] = frozenset(KINDS)
    ) -> None:
        self.wall, self.steady = float(NOW), 10.0
        self.appended: list[list[Block]] = []  # a list for each burst
        self.live = LiveState(100, self.wall, self.steady)
        self.intake = Intake(
            Decoder(MAX_AGE, privacy, EndpointNamer(templates=True), kinds),
            privacy,
            self.live,
            self.append,
            lambda: (self.wall, self.steady),
        )
        self.listener = DatagramListener(bound, "unix:test", self.intake.process, ours=False)

    def process(self, *messages: object, oversize: int = 0) -> None:
        burst = Burst([pack(m) for m in messages], oversize=oversize)
        for _ in self.intake.process(self.listener, burst):
            pass

    def append(self, blocks: list[Block]) -> None:
        self.appended.append(blocks)

    @property
    def stored(self) -> list[Block]:
        return [block for blocks in self.appended for block in blocks]

    def rejected(self) -> dict[str, int]:
        return {str(r): n for r, n in self.intake.figures().rejected.items() if n}


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        yield made


@pytest.fixture
def harness(bound: socket.socket) -> Harness:
    return Harness(bound, Privacy())


def test_event_is_counted_by_kind_shown_live_and_stored(harness: Harness) -> None:
    harness.process(ALL, GOOD["request"], {"events": ALL})
    figures = harness.intake.figures()
    assert figures.events == {"request": 3, "rate_limit": 2, "backend": 2, "system": 2}
    assert sum(block.size for block in harness.stored) == 9
    overview = harness.live.overview()
    assert (overview.totals["requests"], overview.totals["checked"]) == (3, 2)
    assert overview.active_connections == 7
    assert [backend.name for backend in overview.backends] == ["b"]
    assert (figures.altered, figures.disabled, harness.rejected()) == (0, 0, {})


def test_events_of_one_burst_are_appended_together(harness: Harness) -> None:
    harness.process(ALL, GOOD["request"])
    harness.process(GOOD["request"])
    assert [sum(block.size for block in blocks) for blocks in harness.appended] == [5, 1]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_disabled_kind_is_counted_and_reaches_neither_live_state_nor_store(
    bound: socket.socket, kind: str
) -> None:
    harness = Harness(bound, Privacy(), frozenset(KINDS) - {kind})
    harness.process(ALL, ALL)
    figures = harness.intake.figures()
    assert figures.disabled == 2
    assert figures.events == dict.fromkeys(GOOD, 2) | {kind: 0}
    assert {block.kind for block in harness.stored} == GOOD.keys() - {kind}
    overview = harness.live.overview()
    shown = {
        "request": overview.totals["requests"],
        "rate_limit": overview.totals["checked"],
        "backend": len(overview.backends),
        "system": overview.active_connections,
    }
    assert {name for name, figure in shown.items() if not figure} == {kind}


def test_rejects_are_counted_by_reason(harness: Harness) -> None:
    bad = [5, {"kind": "x"}, {}, {"kind": 1}, GOOD["request"] | {"status_code": 1000}]
    harness.process(
        [*bad, *ALL, *bad], b"\xc1", {"source": "s", "seq": -1, "events": []}, oversize=2
    )
    assert harness.rejected() == {
        "malformed": 3,
        "unknown_kind": 2,
        "missing_field": 2,
        "bad_type": 2,
        "out_of_range": 2,
        "bad_seq": 1,
        "oversize": 2,
    }
    assert sum(harness.intake.figures().events.values()) == len(ALL)


def test_cut_and_mended_texts_are_counted_as_altered(harness: Harness) -> None:
    harness.process([GOOD["request"] | {"path": "/\0", "method": "M" * 99}] * 3)
    assert harness.intake.figures().altered == 6


def test_query_and_full_address_reach_neither_live_state_nor_store(bound: socket.socket) -> None:
    harness = Harness(bound, Privacy(client_ip="truncate"))
    harness.process(SECRET)
    (row,) = rows(harness.stored)
    assert (row["path"], row["endpoint"], row["client_ip"]) == (
        "/users/7",
        "/users/{id}",
        "192.0.2.0",
    )
    assert [f.path for f in harness.live.top_endpoints(9)] == ["/users/{id}"]


def test_endpoint_has_no_query_where_queries_are_kept(bound: socket.socket) -> None:
    harness = Harness(bound, Privacy(strip_query=False))
    harness.process(SECRET)
    (row,) = rows(harness.stored)
    assert (row["path"], row["endpoint"]) == ("/users/7?token=1", "/users/{id}")
    harness.process(
        SECRET | {"path": "/a//7;s=1?token=1"}, SECRET | {"route": "/users;s=1?token=1"}
    )
    _, *others = rows(harness.stored)
    assert [(row["path"], row["endpoint"]) for row in others] == [
        ("/a//7;s=1?token=1", "/a/{id}"),
        ("/users/7?token=1", "/users"),
    ]


def test_source_counts_received_and_lost_events(harness: Harness) -> None:
    harness.process(
        {"source": "s", "seq": 0, "events": ALL}, {"source": "s", "seq": 9, "events": []}
    )
    assert harness.intake.source_figures() == [SourceFigures("s", 4, 5)]


def test_recent_reject_has_time_reason_field_and_preview(harness: Harness) -> None:
    message = pack([GOOD["request"], {"method": "GET", "path": "/" + "x" * 100}] * 2)
    harness.process(GOOD["request"], message)
    (recent,) = harness.intake.figures().recent_rejects
    assert (recent.time, recent.listener, recent.count) == (NOW, "unix:test", 2)
    assert (recent.reason, recent.field) == ("missing_field", "status_code")
    assert recent.preview == message[:PREVIEW_BYTES].hex()


def test_recent_reject_previews_the_message_it_came_in(harness: Harness) -> None:
    harness.process(GOOD["request"], [], ALL, b"\xc1\x01", GOOD["request"])
    assert [recent.preview for recent in harness.intake.figures().recent_rejects] == ["c101"]


def test_recent_reject_has_no_preview_where_addresses_are_dropped(bound: socket.socket) -> None:
    harness = Harness(bound, Privacy(client_ip="drop"))
    harness.process(SECRET | {"status_code": -1})
    (recent,) = harness.intake.figures().recent_rejects
    assert (recent.field, recent.preview) == ("status_code", "")


def test_preview_ends_before_a_query_that_is_stripped(bound: socket.socket) -> None:
    for sign in (b"?", b"#", b";"):
        message = pack({"path": f"/users/7{sign.decode()}token=1", "method": "GET"})
        for strip, shown in ((True, message[: message.index(sign)]), (False, message)):
            harness = Harness(bound, Privacy(strip_query=strip))
            harness.process(message)
            (recent,) = harness.intake.figures().recent_rejects
            assert bytes.fromhex(recent.preview) == shown


def test_recent_rejects_keep_the_latest_fifty(bound: socket.socket) -> None:
    harness = Harness(bound, Privacy(strip_query=False))  # some look like queries
    for number in range(MAX_RECENT_REJECTS + 20):
        harness.process(b"\xc1" + bytes([number]))
    recent = harness.intake.figures().recent_rejects
    assert [bytes.fromhex(r.preview)[1] for r in recent] == list(range(20, 70))
    assert harness.rejected() == {"malformed": MAX_RECENT_REJECTS + 20}


def test_burst_of_equal_rejects_takes_one_recent_reject(harness: Harness) -> None:
    harness.process(b"\xc1")
    harness.process([None] * 10_000 + [{"kind": "x"}] * 10_000)
    assert [(str(r.reason), r.count) for r in harness.intake.figures().recent_rejects] == [
        ("malformed", 1),
        ("malformed", 10_000),
        ("unknown_kind", 10_000),
    ]


def test_empty_burst_only_advances_the_live_state(harness: Harness) -> None:
    harness.process(GOOD["request"])
    harness.wall, harness.steady = NOW + 60, 70
    harness.process()
    assert harness.live.window("1m").counters["requests"] == 0
    assert harness.live.window("5m").counters["requests"] == 1
