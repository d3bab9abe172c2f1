"""``columns`` messages for tests."""

from typing import Any

import numpy as np
from sample_events import GOOD, decode, rows


def binary(values: list[float], dtype: str) -> bytes:
    """Numbers as a binary column."""
    return np.array(values, dtype).tobytes()


def coded(values: list[Any], index: list[int], dtype: str = "<u1") -> dict[str, Any]:
    """A dictionary column."""
    return {"values": values, "index": binary(index, dtype)}


def message(n: int, kind: str = "request", /, **columns: Any) -> dict[str, Any]:
    """A ``columns`` message; required fields that are not given have one value for all rows."""
    required = {name: value for name, value in GOOD[kind].items() if name != "kind"}
    return {"v": 1, "kind": kind, "n": n, "columns": required | columns}


def column(name: str, *messages: Any) -> list[Any]:
    """The values that the messages' events have in one field, in the blocks' order."""
    return [row[name] for row in rows(decode(*messages).blocks)]
