import pytest
from sample_events import GOOD, accepted, decode, fault_of, faults, flows, rows

from aegisd.events.flows import MAX_SEQ

REQUEST, SYSTEM = GOOD["request"], GOOD["system"]
OURS = {"source": "gw-1", "seq": 7}

FAULTS = [
    ({"v": 2}, "out_of_range", "v"),
    ({"v": 0}, "out_of_range", "v"),
    ({"v": "1"}, "bad_type", "v"),
    ({"v": True}, "bad_type", "v"),
    ({"v": 1.0}, "bad_type", "v"),
    ({"kind": 3}, "bad_type", "kind"),
    ({"kind": b"request"}, "bad_type", "kind"),
    ({"source": 3}, "bad_type", "source"),
    ({"source": b"gw"}, "bad_type", "source"),
    ({"source": []}, "bad_type", "source"),
    ({"source": "gw", "seq": -1}, "bad_seq", "seq"),
    ({"source": "gw", "seq": -(2**63)}, "bad_seq", "seq"),
    ({"source": "gw", "seq": MAX_SEQ + 1}, "bad_seq", "seq"),
    ({"source": "gw", "seq": 2**64 - 1}, "bad_seq", "seq"),
    ({"source": "gw", "seq": 1.0}, "bad_type", "seq"),
    ({"source": "gw", "seq": True}, "bad_type", "seq"),
    ({"source": "gw", "seq": "1"}, "bad_type", "seq"),
    ({"seq": 1}, "missing_field", "source"),
    ({"seq": 1, "source": None}, "missing_field", "source"),
]
FLOW_FAULTS = [fault for fault in FAULTS if "v" not in fault[0] and "kind" not in fault[0]]


@pytest.mark.parametrize("keys", [{}, {"v": 1}, {"v": None}, {"n": 3}, {"x": 1}, OURS])
def test_events_of_an_envelope_are_accepted(keys: dict[str, object]) -> None:
    decoded = decode(keys | {"events": [REQUEST, REQUEST]})
    assert (accepted(decoded), faults(decoded)) == (2, [])


def test_envelope_without_events_holds_none() -> None:
    assert decode({"events": []}).starts.tolist() == [0, 0]
    assert decode([]).starts.tolist() == [0, 0]


@pytest.mark.parametrize(("keys", "reason", "field"), FAULTS)
def test_fault_of_the_envelope_rejects_each_of_its_events(
    keys: dict[str, object], reason: str, field: str
) -> None:
    decoded = decode(REQUEST, keys | {"events": [REQUEST, 5, REQUEST]}, REQUEST)
    assert faults(decoded) == [(i, reason, field) for i in (1, 2, 3)]
    assert accepted(decoded) == 2


@pytest.mark.parametrize(("keys", "reason", "field"), FAULTS)
def test_faulty_envelope_without_events_is_one_reject(
    keys: dict[str, object], reason: str, field: str
) -> None:
    assert fault_of(keys | {"events": []}) == (reason, field)


@pytest.mark.parametrize(("keys", "reason", "field"), FLOW_FAULTS)
def test_event_alone_has_the_same_faults_of_source_and_seq(
    keys: dict[str, object], reason: str, field: str
) -> None:
    assert fault_of(REQUEST | keys) == (reason, field)
    assert flows(decode(REQUEST | keys)) == []


@pytest.mark.parametrize("events", [1, "x", {}, {"a": 1}, True, 1.5, b"\x90"])
def test_events_that_are_no_list_are_malformed(events: object) -> None:
    assert fault_of({"events": events}) == ("malformed", "events")


@pytest.mark.parametrize("event", [None, 1, "x", True, 1.5, b"x", [], [REQUEST]])
def test_event_that_is_no_map_is_malformed(event: object) -> None:
    assert faults(decode([REQUEST, event, REQUEST])) == [(1, "malformed", "")]
    assert faults(decode({"events": [event, REQUEST]})) == [(0, "malformed", "")]


@pytest.mark.parametrize("message", [None, 1, "x", True, False, 1.5, b"\xc4\x01x"])
def test_message_that_is_neither_map_nor_list_is_malformed(message: object) -> None:
    decoded = decode(REQUEST, message, REQUEST)
    assert faults(decoded) == [(1, "malformed", "")]
    assert accepted(decoded) == 2


def test_flow_of_an_envelope_has_source_seq_and_number_of_events() -> None:
    assert flows(decode(OURS | {"events": [REQUEST, None]})) == [("gw-1", 7, 2)]
    assert flows(decode({"source": "a", "events": [REQUEST]})) == [("a", None, 1)]
    assert flows(decode(REQUEST | OURS)) == [("gw-1", 7, 1)]
    assert flows(decode(REQUEST | {"source": "a"})) == [("a", None, 1)]
    assert flows(decode({"source": "a", "seq": MAX_SEQ, "events": []})) == [("a", MAX_SEQ, 0)]


@pytest.mark.parametrize(
    "message",
    [OURS, OURS | {"v": 1}, OURS | {"events": []}, OURS | {"events": None}, OURS | {"n": 0}],
)
def test_heartbeat_has_a_flow_and_no_events(message: dict[str, object]) -> None:
    decoded = decode(message)
    assert flows(decoded) == [("gw-1", 7, 0)]
    assert decoded.starts.tolist() == [0, 0]


@pytest.mark.parametrize("keys", [{"seq": None}, {"source": None, "seq": None}, {}])
def test_message_without_source_or_seq_is_no_heartbeat(keys: dict[str, object]) -> None:
    assert fault_of({"source": "gw", **keys}) == ("missing_field", "method")


def test_nil_is_absent_in_an_envelope_too() -> None:
    nils = dict.fromkeys(["v", "kind", "source", "seq", "columns"])
    decoded = decode(nils | {"events": [REQUEST]})
    assert (accepted(decoded), faults(decoded), flows(decoded)) == (1, [], [])


def test_events_of_a_rejected_envelope_count_as_sent() -> None:
    decoded = decode(OURS | {"v": 2, "events": [REQUEST] * 3})
    assert flows(decoded) == [("gw-1", 7, 3)]
    assert len(faults(decoded)) == 3


def test_source_and_seq_of_events_in_a_list_make_no_flow() -> None:
    decoded = decode([REQUEST | {"source": 5, "seq": -1}])
    assert (accepted(decoded), flows(decoded)) == (1, [])


def test_system_event_has_its_own_source_else_the_envelope_s() -> None:
    decoded = decode(
        SYSTEM,
        {"source": "one", "events": []},
        {"source": "two", "events": [SYSTEM, SYSTEM | {"source": "own"}, SYSTEM]},
        {"source": "three", "seq": 0},
        [SYSTEM],
        SYSTEM | {"source": "alone"},
        {"source": "four", "events": [SYSTEM | {"source": None}, SYSTEM | {"source": "own"}]},
    )
    names = [row["source"] for row in rows(decoded.blocks)]
    assert names == [None, "two", "own", "two", None, "alone", "four", "own"]


def test_reject_has_the_number_of_its_message() -> None:
    decoded = decode([REQUEST] * 3, 5, {"events": []}, REQUEST, {"v": 2, "events": [REQUEST]})
    assert decoded.starts.tolist() == [0, 3, 4, 4, 5, 6]
    assert [
        (i, r.indexes.tolist()) for r in decoded.rejects for i in r.message_numbers.tolist()
    ] == [
        (1, [0]),
        (4, [0]),
    ]
