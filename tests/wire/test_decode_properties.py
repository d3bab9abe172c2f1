from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import (
    Pair,
    content,
    decode,
    decoded_by,
    events,
    faults,
    keep_all_decoder,
    pack,
    rows,
    sort,
    splits,
)

lists = st.lists(events(), min_size=1, max_size=12)


@given(events())
@settings(max_examples=100)
def test_single_event_keeps_its_values(pair: Pair) -> None:
    event, row = pair
    decoded = decode(event)
    assert rows(decoded.blocks) == [row]
    assert decoded.altered == 0


@given(lists)
@settings(max_examples=50)
def test_events_of_a_list_keep_their_values(pairs: list[Pair]) -> None:
    decoded = decode([event for event, _ in pairs])
    assert sort(rows(decoded.blocks)) == sort([row for _, row in pairs])


@given(lists, st.data())
@settings(max_examples=50)
def test_events_are_the_same_however_they_are_put_into_messages(
    pairs: list[Pair], data: st.DataObject
) -> None:
    bursts = data.draw(splits([event for event, _ in pairs]))
    decoder = keep_all_decoder()
    made: list[dict[str, Any]] = []
    for burst in bursts:
        made += rows(decoded_by(decoder, burst).blocks)
    assert sort(made) == sort([row for _, row in pairs])


@given(st.lists(st.tuples(events(), st.booleans()), max_size=12))
@settings(max_examples=50)
def test_bad_events_leave_the_good_ones_unchanged(mixed: list[tuple[Pair, bool]]) -> None:
    sent = [event | ({"kind": "?"} if bad else {}) for (event, _), bad in mixed]
    decoded = decode(sent)
    assert sort(rows(decoded.blocks)) == sort([row for (_, row), bad in mixed if not bad])
    bad_places = [i for i, (_, bad) in enumerate(mixed) if bad]
    assert [position for position, _, _ in faults(decoded)] == bad_places


@given(lists)
@settings(max_examples=50)
def test_decoding_a_burst_again_gives_the_same(pairs: list[Pair]) -> None:
    decoder = keep_all_decoder()
    messages = [pack(event) for event, _ in pairs]
    first = content(decoded_by(decoder, messages))  # the order of blocks may change
    assert content(decoded_by(decoder, messages)) == first
