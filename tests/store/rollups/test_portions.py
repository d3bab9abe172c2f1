"""How many pieces are folded at once."""

from aegisd.store.rollups.portions import FIRST_PIECES, MAX_PIECES, TARGET_SECONDS, Portions


def test_a_portion_that_took_too_long_is_followed_by_one_that_takes_as_long_as_it_should() -> None:
    portions = Portions()
    portions.folded(4 * TARGET_SECONDS, full=True)
    assert portions.pieces == FIRST_PIECES // 4


def test_quick_full_portions_grow_up_to_the_bound() -> None:
    portions = Portions()
    grown = []
    for _ in range(9):
        portions.folded(0.1, full=True)
        grown.append(portions.pieces)
    assert grown[:2] == [2 * FIRST_PIECES, 4 * FIRST_PIECES]
    assert grown[-1] == MAX_PIECES


def test_a_quick_portion_of_all_there_was_tells_nothing() -> None:
    portions = Portions()
    portions.folded(0.1, full=False)
    portions.folded(0.7 * TARGET_SECONDS, full=True)
    assert portions.pieces == FIRST_PIECES


def test_each_failure_halves_the_next_portion_down_to_one_piece() -> None:
    portions = Portions()
    portions.failed()
    assert portions.pieces == FIRST_PIECES // 2
    for _ in range(50):
        portions.failed()
    assert portions.pieces == 1
