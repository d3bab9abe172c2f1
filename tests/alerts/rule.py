"""What tests of the alerts share: rules, and the figures of a window."""

from typing import Any

import numpy as np
from store.databases import block

from aegisd.config.settings import Condition, Rule
from aegisd.live.state import LiveState

WALL = 1_700_000_000


def rule(
    metric: str = "error_rate",
    operator: str = ">",
    threshold: float = 5,
    window: str = "5m",
    **others: Any,
) -> Rule:
    condition = Condition(metric, operator, threshold, window)
    return Rule(**{"id": "r", "name": "Rule", "condition": condition, **others})


def live_with(*events: tuple[int, int | None, int], at: int = WALL) -> LiveState:
    """A live state that has seen requests: status, milliseconds or None, how many."""
    live = LiveState(100, at, 0.0)
    requests(live, *events, at=at)
    return live


def requests(live: LiveState, *events: tuple[int, int | None, int], at: int) -> None:
    for status, duration, count in events:
        event = {"status_code": status, "timestamp": at * 1_000_000}
        if duration is not None:
            event["duration_us"] = duration * 1000
        live.apply(block("request", [event] * count))


def exact_quantile(values: list[float], share: float) -> float:
    return float(np.quantile(values, share, method="inverted_cdf"))
