"""Marks of the stream's sources: packed and loaded, bounded, forgotten after a day."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.store.journal import marks as marks_module
from aegisd.store.journal.marks import KEEP_SECONDS, Marks, pack_moved

UID = 1000

moves = st.lists(
    st.tuples(st.integers(0, 3), st.text(max_size=4), st.integers(0, 2**62)), max_size=20
)


@given(moves)
def test_latest_move_of_a_mark_counts(held: list[tuple[int, str, int]]) -> None:
    marks = Marks()
    for uid, name, mark in held:
        marks.move({(uid, name): mark})
    latest = {(uid, name): mark for uid, name, mark in held}
    assert len(marks) == len(latest)
    assert {source: marks.get(source) for source in latest} == latest
    assert marks.get((UID, "none of them")) is None


@given(moves)
def test_packed_marks_are_loaded_whole_and_move_by_move(held: list[tuple[int, str, int]]) -> None:
    marks, steps, whole = Marks(), Marks(), Marks()
    for uid, name, mark in held:
        marks.move({(uid, name): mark})
        steps.load(pack_moved({(uid, name): mark}))
    whole.load(marks.pack())
    assert whole.pack() == steps.pack() == marks.pack()


def test_no_moves_take_no_bytes() -> None:
    assert pack_moved({}) == b""


def test_silent_source_is_forgotten_after_a_day() -> None:
    marks = Marks()
    marks.forget(0)
    marks.move({(UID, "old"): 1, (UID, "kept"): 1})
    marks.forget(1)
    marks.move({(UID, "kept"): 2})
    marks.forget(KEEP_SECONDS - 1)
    assert len(marks) == 2
    marks.forget(KEEP_SECONDS)
    assert (marks.get((UID, "old")), marks.get((UID, "kept"))) == (None, 2)


def test_loaded_marks_are_kept_for_a_day() -> None:
    before, after = Marks(), Marks()
    before.move({(UID, "a"): 1})
    after.forget(1_000_000)
    after.load(before.pack())
    after.forget(1_000_000 + KEEP_SECONDS - 1)
    assert after.get((UID, "a")) == 1


def test_marks_loaded_before_the_first_forget_are_kept_for_a_day() -> None:
    before, after = Marks(), Marks()
    before.move({(UID, "a"): 1})
    after.load(before.pack())
    up_for = 10 * KEEP_SECONDS  # a steady clock counts from when the machine was started
    after.forget(up_for)
    after.forget(up_for + KEEP_SECONDS - 1)
    assert after.get((UID, "a")) == 1
    after.forget(up_for + KEEP_SECONDS)
    assert after.get((UID, "a")) is None


def test_same_name_of_two_uids_has_two_marks() -> None:
    marks = Marks()
    marks.move({(1, "a"): 10})
    marks.move({(2, "a"): 2**62})
    assert (marks.get((1, "a")), marks.get((2, "a")), marks.get((3, "a"))) == (10, 2**62, None)


def test_marks_stored_without_uid_hold_for_any_uid() -> None:
    marks = Marks()
    marks.load(msgpack.packb({"a": [10, 1_790_000_000]}))
    assert marks.get((UID, "a")) == 10
    marks.move({(UID, "a"): 11})
    assert (marks.get((UID, "a")), marks.get((2, "a"))) == (11, 10)


def test_source_beyond_the_limit_pushes_out_the_one_silent_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks_module, "MAX_SOURCES", 3)
    marks = Marks()
    for number in range(3):
        marks.move({(UID, f"{number}"): number})
    marks.move({(UID, "0"): 9})
    marks.move({(UID, "new"): 1})
    assert [marks.get((UID, name)) for name in ("0", "1", "2", "new")] == [9, None, 2, 1]


def test_uid_with_most_sources_loses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_module, "MAX_SOURCES", 4)
    marks = Marks()
    marks.move({(UID, "a"): 1, (UID, "b"): 1})
    for number in range(100):
        marks.move({(2, f"{number}"): number})
    assert (len(marks), marks.get((UID, "a")), marks.get((UID, "b"))) == (4, 1, 1)


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3) | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    ).map(msgpack.packb)
)
def test_bytes_that_are_no_marks_raise_and_change_nothing(data: bytes) -> None:
    marks = Marks()
    marks.move({(UID, "a"): 1})
    try:
        marks.load(data)
    except ValueError:
        assert (len(marks), marks.get((UID, "a"))) == (1, 1)


@pytest.mark.parametrize(
    "value",
    [
        *(5, [1], [[1, "a"]], [[1, "a", 1, 1]], [["x", "a", 1]], [[1, 2, 1]], [[1, "a", None]]),
        *({"a": 1}, {"a": [1]}, {"a": [1, 2, 3]}, {"a": ["x", 1]}, {"a": [None, 1]}, {1: [1, 1]}),
    ],
)
def test_other_messagepack_raises(value: Any) -> None:
    with pytest.raises(ValueError, match="no marks"):
        Marks().load(msgpack.packb(value))
