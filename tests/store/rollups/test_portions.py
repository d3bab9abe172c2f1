"""How many pieces are folded at once."""

from aegisd.store.rollups.portions import FIRST_PIECES, MAX_PIECES, TARGET_SECONDS, Portions


def test_slow_portion_is_followed_by_one_of_the_target_s_length() -> None:
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


def test_quick_portion_below_the_bound_leaves_the_bound_as_it_is() -> None:
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
