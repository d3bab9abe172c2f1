"""Keys change how the tables are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.cli.top.controls import MAX_FILTER, Controls, Sort


@pytest.mark.parametrize("keys", ["q", "Q", "xq", "/users\rq", "\x1b[Aq"])
def test_key_q_quits(keys: str) -> None:
    assert Controls().press(keys).quit


@pytest.mark.parametrize("keys", ["", "x", "\x13", "\x1b[A", "\x1bOq", "\x1b[200~", "/q"])
def test_other_keys_and_a_filter_with_q_do_not_quit(keys: str) -> None:
    assert not Controls().press(keys).quit


def test_key_s_goes_round_the_columns_and_r_reverses() -> None:
    assert [Controls().press("s" * n).sort for n in range(5)] == [*Sort, Sort.REQUESTS]
    assert Controls().press("r").reverse
    assert Controls().press("rr") == Controls()


def test_filter_is_typed_until_enter_and_dropped_by_escape() -> None:
    typing = Controls().press("/Üsers")
    assert (typing.typing, typing.filter) == (True, "Üsers")
    assert typing.press("\x7f\x7f").filter == "Üse"
    kept = typing.press("\r")
    assert (kept.typing, kept.filter) == (False, "Üsers")
    assert kept.matches("GET", "/üsers/{id}")
    assert not kept.matches("GET", "/orders")
    assert typing.press("\x1b") == kept.press("\x1b") == Controls()


@given(st.text(max_size=200))
def test_any_keys_leave_a_printable_filter_of_bounded_length(keys: str) -> None:
    controls = Controls().press(keys)
    assert controls.filter.isprintable()
    assert len(controls.filter) <= MAX_FILTER
