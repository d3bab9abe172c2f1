import pytest
from sample_events import GOOD, NOW, decode, fault_of, faults, only, rows


def test_event_without_a_kind_is_a_request() -> None:
    assert only(GOOD["request"])["kind"] == "request"
    assert only(GOOD["request"] | {"kind": None})["kind"] == "request"


@pytest.mark.parametrize("kind", GOOD)
def test_envelope_names_the_kind_of_events_that_name_none(kind: str) -> None:
    bare = {name: value for name, value in GOOD[kind].items() if name != "kind"}
    assert only(bare, kind=kind) == only(GOOD[kind])
    assert only(bare | {"kind": None}, kind=kind) == only(GOOD[kind])


def test_kind_of_an_event_overrides_the_envelope_s() -> None:
    assert only(GOOD["backend"], kind="system")["kind"] == "backend"
    assert only(GOOD["backend"], kind="nonsense")["kind"] == "backend"


def test_nil_kind_of_the_envelope_is_none() -> None:
    assert only(GOOD["request"], kind=None)["kind"] == "request"


@pytest.mark.parametrize("kind", ["", "Request", "rateLimit", "requests", "x" * 9999])
def test_unknown_kind_rejects_the_event(kind: str) -> None:
    assert fault_of(GOOD["request"] | {"kind": kind}) == ("unknown_kind", "kind")
    decoded = decode({"kind": kind, "events": [GOOD["request"], GOOD["backend"]]})
    assert faults(decoded) == [(0, "unknown_kind", "kind")]
    assert [row["kind"] for row in rows(decoded.blocks)] == ["backend"]


@pytest.mark.parametrize("kind", [1, True, 1.5, [], {}, b"request"])
def test_kind_that_is_no_text_is_of_a_bad_type(kind: object) -> None:
    assert fault_of(GOOD["request"] | {"kind": kind}) == ("bad_type", "kind")


def test_burst_gives_one_block_a_kind() -> None:
    decoded = decode(*GOOD.values(), list(GOOD.values()), {"events": list(GOOD.values())})
    assert {block.kind: block.size for block in decoded.blocks} == dict.fromkeys(GOOD, 3)
    assert len(decoded.blocks) == len(GOOD)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (GOOD["backend"] | {"response_time_ms": 1}, GOOD["backend"]),
        (GOOD["system"] | {"source": "a"}, GOOD["system"]),
    ],
)
def test_reports_with_different_keys_stay_in_the_order_of_arrival(
    first: dict[str, object], last: dict[str, object]
) -> None:
    order = [first, last, first, first, last]
    assert rows(decode(*order).blocks) == [only(event) for event in order]


@pytest.mark.parametrize("kind", ["backend", "system"])
def test_reports_of_different_envelopes_stay_in_the_order_of_arrival(kind: str) -> None:
    first, last = GOOD[kind] | {"timestamp": NOW - 1}, GOOD[kind] | {"timestamp": NOW - 2}
    alone = {"kind": kind, "events": [first]}
    decoded = decode(GOOD["request"], alone, last, alone, last, last)
    reports = [row for row in rows(decoded.blocks) if row["kind"] == kind]
    assert reports == [only(event) for event in (first, last, first, last, last)]
