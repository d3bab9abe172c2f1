"""Merges stored sketches in numpy, as a yardstick for Postgres' sum()."""

from collections.abc import Sequence

import numpy as np

from aegisd.stats import sketch

_HEADER_BYTES = 8
_PLACES = 3
_PLACE_VALUES = np.array([10**8, 10**4, 1])
_TOP = sketch.BINS * _PLACES - 1  # the place of the highest digit
_BLOCK = 256  # sketches whose bytes are added side by side: the sums fit into 16 bits
_FEW = 16  # up to so many with the same bins are quicker added one by one


def merged(numerics: Sequence[bytes]) -> sketch.Counts:
    """The merged sketch. Those of the same bins are added as bytes, before any is decoded."""
    total = np.zeros(_TOP + 1, np.int64)  # the highest digit first
    alike: dict[bytes, list[bytes]] = {}
    for numeric in numerics:
        alike.setdefault(numeric[:_HEADER_BYTES], []).append(numeric)
    for header, group in alike.items():
        digits, place = np.frombuffer(header, ">u2", 2).tolist()
        own = total[_TOP - place : _TOP - place + digits]
        if len(group) <= _FEW:
            for numeric in group:
                own += np.frombuffer(numeric, ">u2", digits, _HEADER_BYTES)
            continue
        for start in range(0, len(group), _BLOCK):
            block = group[start : start + _BLOCK]
            words = np.frombuffer(b"".join(block), "<u2").reshape(len(block), -1)
            words = words[:, _HEADER_BYTES // 2 :]  # a digit's octets are the wrong way round
            own += np.add.reduce(words & 0xFF, axis=0, dtype=np.uint16).astype(np.int64) * 256
            own += np.add.reduce(words >> 8, axis=0, dtype=np.uint16)
    counts: sketch.Counts = (total.reshape(sketch.BINS, _PLACES) @ _PLACE_VALUES)[::-1]
    return counts
