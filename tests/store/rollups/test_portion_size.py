"""How many pieces a portion may have."""

from aegisd.store.rollups.portion_size import FIRST_PIECES, MAX_PIECES, TARGET_SECONDS, PortionSize


def test_slow_portion_is_followed_by_one_of_the_target_s_length() -> None:
    size = PortionSize()
    size.adapt(4 * TARGET_SECONDS, full=True)
    assert size.max_pieces == FIRST_PIECES // 4


def test_quick_full_portions_double_the_limit_up_to_max_pieces() -> None:
    size = PortionSize()
    grown = []
    for _ in range(9):
        size.adapt(0.1, full=True)
        grown.append(size.max_pieces)
    assert grown[:2] == [2 * FIRST_PIECES, 4 * FIRST_PIECES]
    assert grown[-1] == MAX_PIECES


def test_quick_portion_below_the_limit_leaves_the_limit_as_it_is() -> None:
    size = PortionSize()
    size.adapt(0.1, full=False)
    size.adapt(0.7 * TARGET_SECONDS, full=True)
    assert size.max_pieces == FIRST_PIECES


def test_each_halving_halves_the_limit_down_to_one_piece() -> None:
    size = PortionSize()
    size.halve()
    assert size.max_pieces == FIRST_PIECES // 2
    for _ in range(50):
        size.halve()
    assert size.max_pieces == 1
