import pytest
from live_state import Live
from sample_events import GOOD, MICROSECONDS, NOW

from aegisd.live import presence
from aegisd.live.presence import BackendState


def backend(name: str, status: str, **fields: object) -> dict[str, object]:
    return {"kind": "backend", "backend_name": name, "status": status, **fields}


def system(count: int, **fields: object) -> dict[str, object]:
    return GOOD["system"] | {"active_connections": count, **fields}


def states(live: Live) -> dict[str, str]:
    return {state.name: state.status for state in live.state.overview().backends}


def connections(live: Live) -> int:
    return live.state.overview().active_connections


def test_backend_s_latest_report_is_shown_whole() -> None:
    live = Live()
    full = {"response_time_ms": 1.5, "circuit_breaker": "half_open", "timestamp": NOW - 9}
    live.burst(backend("b", "unhealthy", **full), backend("a", "healthy"))
    assert live.state.overview().backends == [
        BackendState("a", "healthy", None, None, NOW * MICROSECONDS),
        BackendState("b", "unhealthy", 1500, "half_open", (NOW - 9) * MICROSECONDS),
    ]


@pytest.mark.parametrize("gap", [1, 0.000_1])
def test_latest_is_the_one_with_the_latest_timestamp(gap: float) -> None:
    live = Live()
    live.burst(backend("b", "healthy", timestamp=NOW - 5))
    live.burst(backend("b", "unhealthy", timestamp=NOW - 5 - gap))
    assert states(live) == {"b": "healthy"}
    live.burst(backend("b", "unhealthy", timestamp=NOW - 5 + gap))
    assert states(live) == {"b": "unhealthy"}


def test_of_equal_timestamps_the_later_arrival_counts() -> None:
    live = Live()
    live.burst(backend("b", "healthy"), backend("b", "unhealthy"))
    assert states(live) == {"b": "unhealthy"}
    live.burst(system(5), system(3, cpu_percent=1), system(4))
    assert connections(live) == 4


def test_backend_silent_for_five_minutes_is_forgotten() -> None:
    live = Live()
    live.burst(backend("a", "healthy"), backend("b", "healthy"))
    live.wait(100)
    live.burst(backend("b", "healthy"))
    live.wait(199)
    assert sorted(states(live)) == ["a", "b"]
    live.wait(1)
    assert sorted(states(live)) == ["b"]
    live.wait(100)
    assert states(live) == {}


def test_report_older_than_five_minutes_is_ignored() -> None:
    live = Live()
    old = NOW - 300
    live.burst(backend("a", "healthy", timestamp=old), system(5, timestamp=old))
    assert (states(live), connections(live)) == ({}, 0)
    live.burst(backend("a", "healthy", timestamp=old + 1), system(5, timestamp=old + 1))
    assert (states(live), connections(live)) == ({"a": "healthy"}, 5)


def test_connections_are_summed_over_their_sources() -> None:
    live = Live()
    live.burst(system(5), system(7, source="a"), {"source": "b", "events": [system(9)]})
    assert connections(live) == 21
    live.burst(system(1, source="a"))
    assert connections(live) == 15


def test_source_silent_for_five_minutes_holds_no_connections() -> None:
    live = Live()
    live.burst(system(5, source="a"), system(7, source="b"))
    live.wait(299)
    live.burst(system(8, source="b"))
    assert connections(live) == 13
    live.wait(1)
    assert connections(live) == 8


@pytest.mark.parametrize("step", [3600, -3600])
def test_clock_step_removes_no_report_and_keeps_none_longer(step: int) -> None:
    live = Live()
    live.burst(backend("a", "healthy"), system(5))
    live.set_clock(step)
    assert (states(live), connections(live)) == ({"a": "healthy"}, 5)
    live.burst(backend("a", "unhealthy", timestamp=live.wall))
    assert states(live) == {"a": "unhealthy"}
    live.wait(299)
    assert connections(live) == 5
    live.wait(1)
    assert (states(live), connections(live)) == ({}, 0)


def test_backends_are_bounded_and_the_longest_silent_makes_room() -> None:
    live = Live()
    live.burst([backend(f"{i:04}", "healthy") for i in range(presence.MAX_BACKENDS)])
    live.burst(backend("0000", "healthy"), backend("new", "healthy"))
    known = states(live)
    assert len(known) == presence.MAX_BACKENDS
    assert {"0000", "new"} <= known.keys()
    assert "0001" not in known


def test_sources_of_connections_are_bounded() -> None:
    live = Live()
    limit = presence.MAX_CONNECTION_SOURCES
    live.burst([system(1, source=str(i)) for i in range(2 * limit)])
    assert connections(live) == limit
