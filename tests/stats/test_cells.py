"""The heat map's cells against durations sorted by their edges."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sketches import sketch_of

from aegisd.stats import sketch
from aegisd.stats.cells import EDGES_US, cells

near_edges = st.sampled_from(EDGES_US).flatmap(lambda edge: st.integers(edge - 2, edge + 2))
durations = st.integers(0, sketch.MAX_VALUE) | near_edges | st.integers(0, 100)


@given(st.lists(durations, min_size=1, max_size=200))
def test_cell_counts_durations_above_its_lower_edge_up_to_its_upper_edge(micros: list[int]) -> None:
    counts = cells(sketch_of(np.array(micros, np.int64)))
    inner = EDGES_US[1:-1]
    expected = [0] * (len(EDGES_US) - 1)
    for value in micros:
        expected[sum(edge < value for edge in inner)] += 1
    assert counts.tolist() == expected
    assert counts.sum() == len(micros)


def test_cells_of_many_sketches_are_those_of_each() -> None:
    chance = np.random.default_rng(7460)
    sketches = chance.integers(0, 10**12, (5, sketch.BINS))
    assert (cells(sketches) == np.stack([cells(each) for each in sketches])).all()


def test_edges_rise_evenly_from_a_tenth_of_a_millisecond_to_a_minute() -> None:
    assert 95 <= EDGES_US[0] <= 105
    assert 57_000_000 <= EDGES_US[-1] <= 63_000_000
    ratio = (EDGES_US[-1] / EDGES_US[0]) ** (1 / (len(EDGES_US) - 1))
    assert all(0.98 * ratio < high / low < 1.02 * ratio for low, high in pairwise(EDGES_US))
