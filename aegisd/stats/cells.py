"""The rows of a latency heat map: a sketch's bins, counted together as cells. Pure.

All heat maps have the same cells, so that they can be compared, and laid side by side. Each edge
lies between two bins. So the counts are exact: a cell has the durations above its lower edge, up to
its upper edge. The first cell also has all shorter ones, the last all longer ones.
"""

import numpy as np

from aegisd.stats import sketch

BINS_A_CELL = 18
"""An upper edge is 1.43 times the lower one: 37 cells, as many as a plot has room for."""

_EDGE_BINS = np.arange(231, 898, BINS_A_CELL)
"""The bins that end at an edge: from 0.1 ms, a quick answer of a gateway's own, to a minute, where
gateways have given up."""

EDGES_US: list[int] = sketch.UP_TO[_EDGE_BINS].tolist()
"""The edges in whole microseconds, one more than there are cells."""

_STARTS = np.concatenate([[0], _EDGE_BINS[1:-1] + 1])


def cells(sketches: sketch.Counts) -> sketch.Counts:
    """How many durations each cell has: of one sketch, or of each row of an array of sketches."""
    counts: sketch.Counts = np.add.reduceat(sketches, _STARTS, axis=-1)
    return counts
