"""The sketch of some values, made in one step: the daemon itself only ever adds to sketches."""

import numpy as np
from numpy.typing import NDArray

from aegisd.stats import sketch


def sketch_of(values: NDArray[np.int64]) -> sketch.Counts:
    counts: sketch.Counts = np.bincount(sketch.bins_of(values), minlength=sketch.BINS)
    return counts
