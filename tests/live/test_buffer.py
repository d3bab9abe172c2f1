import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_events import GOOD, decode, rows

from aegisd.events.block import Block, Text
from aegisd.live.buffer import MAX_BLOCKS, MAX_EVENTS, NUMBERS, TEXTS, RequestBuffer
from aegisd.wire.naming.endpoints import EndpointNamer

events = st.builds(
    lambda path, method, status, ms: (
        GOOD["request"] | {"path": path, "method": method, "status_code": status, "duration_ms": ms}
    ),
    st.sampled_from(["/a", "/b", "/users/1", "/users/2"]),
    st.sampled_from(["GET", "PUT"]),
    st.integers(0, 999),
    st.none() | st.integers(0, 9),
)


def block(sent: list[dict[str, object]]) -> Block:
    (made,) = decode(sent).blocks
    return EndpointNamer(templates=True, patterns=[]).name(made)


@given(st.lists(st.lists(events, min_size=1, max_size=5), max_size=8))
def test_take_gives_one_block_in_order_with_the_counted_columns(
    bursts: list[list[dict[str, object]]],
) -> None:
    buffer = RequestBuffer()
    for burst in bursts:
        buffer.add(block(burst))
        assert not buffer.full
    taken = buffer.take()
    assert buffer.take() is None
    if taken is None:
        assert not bursts
        return
    assert (taken.numbers.keys(), taken.texts.keys()) == (set(NUMBERS), set(TEXTS))
    assert taken.size == sum(map(len, bursts))
    whole = rows([block([event for burst in bursts for event in burst])])
    assert rows([taken]) == [{name: row[name] for name in rows([taken])[0]} for row in whole]


@pytest.mark.parametrize(("blocks", "size"), [(64, MAX_EVENTS // 64), (MAX_BLOCKS, 1)])
def test_buffer_is_full_at_its_bounds(blocks: int, size: int) -> None:
    buffer, made = RequestBuffer(), block([GOOD["request"]] * size)
    for _ in range(2):  # the second time as the first
        for number in range(blocks):
            buffer.add(made)
            assert buffer.full == (number == blocks - 1)
        taken = buffer.take()
        assert taken is not None
        assert taken.size == blocks * size
        assert buffer.take() is None


def test_values_without_a_row_are_no_row_of_the_joined_text() -> None:
    buffer = RequestBuffer()
    made = block([GOOD["request"]])
    for path in ("/x", "/y"):
        endpoint = Text(["/unused", path, None], np.array([1], np.int32))
        buffer.add(made.with_text("endpoint", endpoint))
    taken = buffer.take()
    assert taken is not None
    assert taken.texts["endpoint"].rows() == ["/x", "/y"]
