"""What each counter counts, and that every list of counters is the same one."""

import numpy as np
import pytest
from attrs import fields_dict

from aegisd.cli.top import api, screen
from aegisd.events.counters import (
    COUNTERS,
    OUTCOME,
    OUTCOME_FAILS,
    REQUEST_COUNTERS,
    STATUS_CLASSES,
    STATUS_RANGES,
    counted,
    outcome_adds,
)
from aegisd.events.protocol import MAX_STATUS
from aegisd.store.history.results import StatusCounts

STATUSES = np.arange(MAX_STATUS + 1)
EXPECTED = {
    "status_2xx": [*range(200, 300)],
    "status_3xx": [*range(300, 400)],
    "status_4xx": [*range(400, 500)],
    "status_5xx": [*range(500, 600)],
    "status_other": [*range(200), *range(600, 1000)],
    "succeeded": [*range(1, 400)],
    "failed": [0, *range(400, 1000)],
    "server_errors": [0, *range(500, 600)],
    "rate_limited": [429],
}


@pytest.mark.parametrize("name", STATUS_RANGES)
def test_counter_counts_the_statuses_of_the_contract(name: str) -> None:
    assert STATUSES[counted(name, STATUSES)].tolist() == EXPECTED[name]


def test_each_status_is_of_one_class_and_fails_or_succeeds() -> None:
    for names in (STATUS_CLASSES, ("failed", "succeeded")):
        assert (sum(counted(name, STATUSES).astype(int) for name in names) == 1).all()


@pytest.mark.parametrize("names", [COUNTERS, REQUEST_COUNTERS])
def test_request_adds_to_the_counters_of_its_status(names: tuple[str, ...]) -> None:
    adds = outcome_adds(names)[OUTCOME]
    for column, name in enumerate(names):
        expected = counted(name, STATUSES) if name in STATUS_RANGES else name == "requests"
        assert (adds[:, column] == expected).all(), name
    assert (OUTCOME_FAILS[OUTCOME] == counted("failed", STATUSES)).all()


def test_classes_of_status_are_the_same_wherever_they_are_shown() -> None:
    assert tuple(fields_dict(StatusCounts)) == STATUS_CLASSES
    assert api.Statuses.__struct_fields__[1:] == STATUS_CLASSES  # behind the timestamp
    assert tuple(name for _, name, _ in screen._CLASSES) == STATUS_CLASSES
