"""Batches: their parts and halves."""

from hypothesis import given
from hypothesis import strategies as st
from store.backlog.numbered_events import numbered, numbers

from aegisd.store.backlog.buffered import Batch


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=6),
    st.data(),
)
def test_part_has_the_events_between_two_positions(
    spans: list[tuple[int, int]], data: st.DataObject
) -> None:
    place, blocks, where = 100, [], {}
    for gap, size in spans:
        place += gap
        blocks.append((place, numbered(place, size)))
        where |= {number: number for number in range(place, place + size)}
        place += size
    batch = Batch(100, place, blocks)
    low = data.draw(st.integers(90, place + 10))
    high = data.draw(st.integers(low, place + 10))
    part = batch.part(low, high)
    assert numbers(part) == [number for number in where if low <= number < high]
    for start, each in part.blocks:
        assert each.texts["path"].rows() == [f"/{start + i}" for i in range(each.size)]
    assert part.events == len(numbers(part))
    if batch.events > 1:
        one, two = batch.halves()
        assert numbers(one) + numbers(two) == numbers(batch)
        assert (one.start, one.end, two.end) == (batch.start, two.start, batch.end)
        assert one.events == batch.events // 2
