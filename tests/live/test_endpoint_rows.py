"""The rows of endpoints, against a dict of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.events.block import Text
from aegisd.live.endpoint_rows import MAX_METHODS, NO_ROW, Endpoint, EndpointRows

LIMIT = 6

methods = st.integers(0, MAX_METHODS + 3).map(lambda n: f"M{n}")
paths = st.integers(0, 4 * LIMIT).map(lambda n: f"/{n}")
names = st.tuples(methods, paths)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names),
        st.tuples(st.just("drop"), names),
        st.tuples(st.just("replace"), st.lists(names, max_size=LIMIT, unique=True)),
    ),
    max_size=60,
)


def found(index: EndpointRows, asked: list[Endpoint]) -> list[int]:
    """The row of each of ``asked``; texts stand twice among the values, as in joined blocks."""
    methods, paths = ([name[i] for name in asked] for i in (0, 1))
    places = np.arange(len(asked), dtype=np.int32)
    rows = index.find(Text([*methods, None], places), Text([*paths, *paths], places + len(asked)))
    return rows.tolist()


def apply(
    index: EndpointRows, model: dict[Endpoint, int], move: str, what: Any
) -> dict[Endpoint, int]:
    if move == "replace":
        model = {name: row for row, name in enumerate(what)}
        index.replace(dict(model))
    elif move == "put" and what not in model and len(model) < LIMIT:
        model[what] = min(set(range(LIMIT)) - set(model.values()))
        index.put(what, model[what])
    elif move == "drop" and what in model:
        del model[what]
        index.drop(what)
    return model


@given(moves, st.lists(names, min_size=1, max_size=20))
@settings(max_examples=200)
def test_endpoints_are_found_until_they_are_dropped(
    done: list[tuple[str, Any]], asked: list[Endpoint]
) -> None:
    index, model = EndpointRows(LIMIT), dict[Endpoint, int]()
    for move, what in done:
        model = apply(index, model, move, what)
        assert index.row_of == model
        for name, row in zip(asked, found(index, asked), strict=True):
            assert row in {NO_ROW, model.get(name, NO_ROW)}
        all_methods = {method for move, what in done for method, _ in _endpoints_of(what)}
        if len(all_methods) <= MAX_METHODS and model:
            assert found(index, list(model)) == list(model.values())


def _endpoints_of(what: Any) -> list[Endpoint]:
    return what if isinstance(what, list) else [what]


def test_rows_are_found_however_many_paths_came_and_went() -> None:
    index = EndpointRows(LIMIT)
    for n in range(20 * LIMIT):
        if n >= LIMIT:
            index.drop(("GET", f"/{n - LIMIT}"))
        index.put(("GET", f"/{n}"), n % LIMIT)
        held = [("GET", f"/{k}") for k in range(max(0, n - LIMIT + 1), n + 1)]
        assert found(index, held) == [index.row_of[name] for name in held]


@pytest.mark.parametrize("known", [0, 1])
def test_texts_that_are_absent_or_unknown_have_no_row(known: int) -> None:
    index = EndpointRows(LIMIT)
    for row in range(known):
        index.put(("GET", "/"), row)
    asked = [("GET", "/x"), ("X", "/"), ("X", "/x")]
    assert found(index, asked) == [NO_ROW] * 3
    nothing = Text([None], np.zeros(2, np.int32))
    assert index.find(nothing, nothing).tolist() == [NO_ROW] * 2
