"""The live state depends on the events, not on the messages and bursts they came in."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from live_state import Live
from sample_events import Pair, events, pack, splits

from aegisd.config.settings import WINDOW_SECONDS


def shown(live: Live) -> dict[str, Any]:
    """Everything the live state tells."""
    overview, series = live.state.overview(), live.state.series()
    windows = {name: live.state.window(name) for name in WINDOW_SECONDS}
    return {
        "totals": overview.totals,
        "connections": overview.active_connections,
        "backends": overview.backends,
        "counters": {name: sums.counters for name, sums in windows.items()},
        "sketches": {name: sums.durations.tolist() for name, sums in windows.items()},
        "starts": series.starts.tolist(),
        "series": series.counters.tolist(),
        "latencies": [series.durations(n).tolist() for n in range(len(series.starts))],
        "endpoints": live.state.top_endpoints(1000),
    }


@given(st.lists(events(), min_size=1, max_size=15), st.data())
@settings(max_examples=60)
def test_any_split_of_the_same_events_gives_the_same_figures(
    pairs: list[Pair], data: st.DataObject
) -> None:
    sent = [event for event, _ in pairs]
    whole, parted = Live(), Live()
    whole.burst(sent)
    for burst in data.draw(splits(sent)):
        parted.burst(*burst)
    assert shown(parted) == shown(whole)


names = st.sampled_from(["a", "b"])
reports = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("backend"), "backend_name": names, "status": st.just("healthy")},
        optional={"response_time_ms": st.integers(0, 9), "circuit_breaker": st.just("open")},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("system"), "active_connections": st.integers(0, 9)},
        optional={"source": names, "open_files": st.just(1)},
    ),
)


@given(st.lists(reports, max_size=10), st.data())
@settings(max_examples=100)
def test_last_of_reports_with_one_timestamp_counts_in_any_split(
    sent: list[dict[str, Any]], data: st.DataObject
) -> None:
    single, parted = Live(), Live()
    for report in sent:
        single.burst(pack(report))
    for burst in data.draw(splits(sent)):
        parted.burst(*burst)
    assert shown(parted) == shown(single)
