"""Marks of the stream's sources: kept with the entries, bounded, forgotten after a day."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.store import marks as marks_module
from aegisd.store.marks import KEEP_SECONDS, Marks, pack_moved

moves = st.lists(
    st.tuples(st.text(max_size=4), st.integers(0, 2**62), st.integers(0, 2**32 - 1)), max_size=20
)


@given(moves)
def test_the_latest_mark_counts(held: list[tuple[str, int, int]]) -> None:
    marks = Marks()
    for source, mark, now in held:
        marks.put({source: mark}, now)
    latest = {source: mark for source, mark, _ in held}
    assert len(marks) == len(latest)
    assert {source: marks.get(source) for source in latest} == latest
    assert marks.get("none of them") is None


@given(moves)
def test_what_is_packed_is_loaded(held: list[tuple[str, int, int]]) -> None:
    marks, steps, whole = Marks(), Marks(), Marks()
    for source, mark, now in held:
        marks.put({source: mark}, now)
        steps.load(pack_moved({source: mark}, now))
    whole.load(marks.pack())
    assert whole.pack() == steps.pack() == marks.pack()


def test_nothing_moved_takes_no_bytes() -> None:
    assert pack_moved({}, 5) == b""


def test_a_source_is_forgotten_after_a_day_of_silence() -> None:
    marks = Marks()
    marks.put({"old": 1, "kept": 1}, 0)
    marks.put({"kept": 2}, 1)
    marks.forget(KEEP_SECONDS - 1)
    assert len(marks) == 2
    marks.forget(KEEP_SECONDS)
    assert (marks.get("old"), marks.get("kept")) == (None, 2)


def test_of_too_many_sources_the_one_silent_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks_module, "MAX_SOURCES", 3)
    marks = Marks()
    for number in range(3):
        marks.put({f"{number}": number}, number)
    marks.put({"0": 9}, 5)
    marks.put({"new": 1}, 6)
    assert [marks.get(source) for source in ("0", "1", "2", "new")] == [9, None, 2, 1]


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3) | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    ).map(msgpack.packb)
)
def test_bytes_that_are_no_marks_are_told_and_change_nothing(data: bytes) -> None:
    marks = Marks()
    marks.put({"a": 1}, 1)
    try:
        marks.load(data)
    except ValueError:
        assert (len(marks), marks.get("a")) == (1, 1)


@pytest.mark.parametrize(
    "value", [5, [], {"a": 1}, {"a": [1]}, {"a": [1, 2, 3]}, {"a": ["x", 1]}, {"a": [None, 1]}]
)
def test_other_messagepack_is_told(value: Any) -> None:
    with pytest.raises(ValueError, match="no marks"):
        Marks().load(msgpack.packb(value))
