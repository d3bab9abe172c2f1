import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import GOOD, decode, rows

from aegisd.events.block import Text, concatenate

texts = st.lists(st.none() | st.text(max_size=3), max_size=20)


@given(st.lists(texts, min_size=1, max_size=4))
@settings(max_examples=100)
def test_concatenated_texts_have_the_rows_of_all_parts(parts: list[list[str | None]]) -> None:
    joined = Text.concatenate([Text.of(part) for part in parts])
    assert joined.rows() == [row for part in parts for row in part]


@given(texts)
@settings(max_examples=100)
def test_text_column_has_its_rows_and_each_value_once(held: list[str | None]) -> None:
    text = Text.of(held)
    assert text.rows() == held
    assert len(text.values) == len(set(held))
    assert text.map(lambda v: v + "!").rows() == [None if v is None else v + "!" for v in held]


def test_take_and_ordered_keep_each_event_whole() -> None:
    events = [{**GOOD["request"], "status_code": 200 + i, "path": f"/{i}"} for i in range(5)]
    (block,) = decode(events).blocks
    whole = rows([block])
    taken = block.take(np.array([True, False, True, False, True]))
    assert (taken.size, rows([taken])) == (3, whole[::2])
    turned = block.ordered(np.array([4, 3, 2, 1, 0]))
    assert (turned.size, rows([turned])) == (5, whole[::-1])


def test_concatenate_makes_one_block_a_kind_in_order() -> None:
    blocks = [decode(GOOD[kind]).blocks[0] for kind in ("system", "request", "system")]
    joined = concatenate(blocks)
    assert [(block.kind, block.size) for block in joined] == [("system", 2), ("request", 1)]


def test_nbytes_grows_with_events_and_texts() -> None:
    (few,) = decode([GOOD["request"]] * 10).blocks
    (many,) = decode([GOOD["request"]] * 1000).blocks
    (wide,) = decode([GOOD["request"] | {"path": f"/{i}" * 100} for i in range(1000)]).blocks
    assert few.nbytes < many.nbytes < wide.nbytes
    assert wide.nbytes > 1000 * 300
