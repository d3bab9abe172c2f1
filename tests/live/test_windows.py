"""The ring and its running sums against a model that keeps every event and sums anew."""

import numpy as np
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from aegisd.config.settings import WINDOW_SECONDS
from aegisd.events.counters import COUNTERS
from aegisd.live.windows import FEW_SECONDS, LONGEST, REACH_AHEAD, Windows
from aegisd.stats import sketch
from aegisd.stats.grouping import Groups

START = 1_000_000
MOST_BACK = 60  # the ring has a minute to spare
BINS = (0, 1, 700, sketch.BINS - 1)

Event = tuple[int, int, int]  # offset from now, row of counters, bin


@define
class Model:
    """Every event that was in reach when it came."""

    now: int = START
    events: list[Event] = field(factory=list)

    def add(self, events: list[Event]) -> None:
        for offset, number, bin_ in events:
            if -LONGEST < offset <= REACH_AHEAD:
                self.events.append((self.now + offset, number, bin_))

    def between(self, first: int, last: int) -> tuple[list[int], list[int]]:
        """Counters and sketch of the seconds from ``first`` to ``last``."""
        counters, bins = [0] * len(COUNTERS), np.zeros(sketch.BINS, np.int64)
        for second, number, bin_ in self.events:
            if first <= second <= last:
                counters[number] += number + 1
                bins[bin_] += 1
        return counters, bins.tolist()


def add(windows: Windows, now: int, events: list[Event]) -> None:
    seconds = np.array([now + offset for offset, _, _ in events], np.int64)
    first, row = np.unique(seconds, return_inverse=True)
    counters = np.zeros((len(first), len(COUNTERS)), np.int64)
    for place, (_, number, _) in zip(row.tolist(), events, strict=True):
        counters[place, number] += number + 1
    windows.add(Groups(first, row), counters, np.array([bin_ for _, _, bin_ in events], np.intp))


def check(windows: Windows, model: Model) -> None:
    for name, length in WINDOW_SECONDS.items():
        sums = windows.sums(name)
        counters, bins = model.between(model.now - length + 1, model.now)
        assert list(sums.counters.values()) == counters, name
        assert sums.durations.tolist() == bins, name


def check_series(windows: Windows, model: Model, length: int, bucket: int, phase: int) -> None:
    series = windows.series(length, bucket, phase)
    assert len(series.starts) == length // bucket
    assert {(start + phase) % bucket for start in series.starts.tolist()} == {0}
    assert series.starts[-1] <= model.now < series.starts[-1] + bucket
    for i, start in enumerate(series.starts.tolist()):
        counters, bins = model.between(start, min(start + bucket - 1, model.now))
        assert series.counters[i].tolist() == counters
        assert series.durations(i).tolist() == bins


edges = [0, -1, -59, -60, -299, -300, -899, -900, -3599, -3600, 1, 300, 301, 302, -5000, 9000]
offsets = st.sampled_from(edges) | st.integers(-4000, 400) | st.integers(-5, 0)
event = st.tuples(offsets, st.integers(0, len(COUNTERS) - 1), st.sampled_from(BINS))
few = st.lists(event, max_size=6)
many = st.lists(event, min_size=FEW_SECONDS + 1, max_size=2 * FEW_SECONDS)
steps = st.one_of(
    st.integers(0, 5),
    st.integers(-3, -1),
    st.sampled_from([59, 60, 61, 299, 300, 3599, 3600, 3601, 3900, 3961, 4000]),
    st.integers(1, 8000),
    st.integers(1, 40).map(lambda days: days * 86_400),
)


@given(
    st.lists(st.tuples(steps, few | many), max_size=25),
    st.sampled_from([(900, 10), (60, 1), (3600, 60), (300, 7)]),
    st.integers(-10_000, 10_000),
)
@settings(max_examples=150)
def test_windows_and_series_equal_the_sums_of_the_events(
    moves: list[tuple[int, list[Event]]], shape: tuple[int, int], phase: int
) -> None:
    windows, model, furthest = Windows(START), Model(), START
    for step, events in moves:
        if model.now + step < furthest - MOST_BACK:
            continue
        model.now += step
        furthest = max(furthest, model.now)
        windows.advance(model.now)
        check(windows, model)
        if events:
            add(windows, model.now, events)
            model.add(events)
            check(windows, model)
    length, bucket = shape[0] // shape[1] * shape[1], shape[1]
    check_series(windows, model, length, bucket, phase)


@pytest.mark.parametrize("back", range(1, MOST_BACK + 1, 7))
def test_going_back_in_time_shows_the_same_sums_again(back: int) -> None:
    windows, model = Windows(START), Model()
    for _ in range(200):
        events = [(0, 0, 1), (-3599, 1, 1), (301, 2, 1)]
        model.now += 20
        windows.advance(model.now)
        add(windows, model.now, events)
        model.add(events)
    model.now -= back
    windows.advance(model.now)
    check(windows, model)
    model.now += back
    windows.advance(model.now)
    check(windows, model)


@pytest.mark.parametrize(("window", "length"), WINDOW_SECONDS.items())
def test_second_leaves_a_window_after_its_length(window: str, length: int) -> None:
    windows = Windows(START)
    add(windows, START, [(0, 0, 1)])
    windows.advance(START + length - 1)
    assert windows.sums(window).counters["requests"] == 1
    windows.advance(START + length)
    assert windows.sums(window).counters["requests"] == 0
    assert windows.sums(window).durations.sum() == 0


def test_event_stamped_ahead_counts_from_its_second_on() -> None:
    windows = Windows(START)
    add(windows, START, [(300, 0, 1)])
    windows.advance(START + 299)
    assert windows.sums("1h").counters["requests"] == 0
    windows.advance(START + 300)
    assert windows.sums("1m").counters["requests"] == 1


def test_sums_handed_out_do_not_change_afterwards() -> None:
    windows = Windows(START)
    sums = windows.sums("1m")
    add(windows, START, [(0, 0, 1)])
    assert sums.counters["requests"] == 0
    assert sums.durations.sum() == 0
