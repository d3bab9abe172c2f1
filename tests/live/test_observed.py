"""The backends that requests name, and what is counted since the start."""

from hypothesis import given, settings
from hypothesis import strategies as st
from live_state import Live
from sample_events import GOOD, MICROSECONDS, NOW

from aegisd.events.counters import OTHER
from aegisd.live.observed import MAX_COUNTED, MAX_OBSERVED


def requests(*backends: str | None, **fields: object) -> list[dict[str, object]]:
    return [GOOD["request"] | {"backend": name} | fields for name in backends]


def observed(live: Live) -> dict[str, int]:
    """Requests by name."""
    return {each.name: each.requests for each in live.state.observed_backends()}


def counted(live: Live) -> dict[str, int]:
    """Requests by name, since the backend is followed."""
    totals = live.state.request_totals(0).backends
    return {name: sum(by.values()) for name, by in totals.items()}


def test_backends_have_count_failures_and_latency_most_requests_first() -> None:
    live = Live()
    live.burst(requests("a", "b", "b", duration_ms=7), requests("b", status_code=502))
    b, a = live.state.observed_backends()
    assert (b.name, b.requests, b.failed, b.average_us) == ("b", 3, 1, 7000)
    assert (a.name, a.requests, a.failed, a.average_us) == ("a", 1, 0, 7000)
    assert a.p95_us == b.p95_us
    assert a.p95_us is not None
    assert abs(a.p95_us - 7000) <= 70


def test_requests_without_a_backend_observe_none() -> None:
    live = Live()
    live.burst(requests(None, None, ""), [GOOD["request"]])
    assert live.state.observed_backends() == []
    assert counted(live) == {}
    live.burst(requests(None, "a", "", "a"))
    assert observed(live) == {"a": 2}


def test_backend_is_forgotten_after_an_hour_without_a_request() -> None:
    live = Live()
    live.burst(requests("a", "b", "b"))
    live.wait(3600)
    assert observed(live) == {"a": 1, "b": 2}
    live.burst(requests("b"))
    live.wait(300)
    assert observed(live) == {"b": 1}


def test_backend_was_last_seen_at_its_latest_request_whatever_the_order() -> None:
    live = Live()
    for age in (30, 5, 60):
        live.burst(requests("a", timestamp=NOW - age))
    live.wait(1200)
    live.burst(requests("a", timestamp=NOW - 90))
    (a,) = live.state.observed_backends()
    assert a.last_seen == (NOW - 5) * MICROSECONDS


def test_clock_that_is_set_back_does_not_leave_a_backend_seen_in_the_future() -> None:
    live = Live()
    live.burst(requests("a", timestamp=live.wall))
    live.set_clock(-1800)
    live.wait(10)
    live.burst(requests("a", timestamp=live.wall))
    (a,) = live.state.observed_backends()
    assert a.last_seen == live.wall * MICROSECONDS


def test_names_beyond_the_bound_are_counted_together_and_displace_no_busier_one() -> None:
    live = Live()
    real = [f"real{n}" for n in range(20)]
    live.burst(requests(*real * 5))
    for start in range(0, 4 * MAX_OBSERVED, 500):
        live.burst(requests(*(f"10.0.0.0:{start + n}" for n in range(500))))
    found = observed(live)
    assert len(found) == MAX_OBSERVED + 1
    assert list(found)[-1] == OTHER
    assert {name: found[name] for name in real} == dict.fromkeys(real, 5)
    assert sum(found.values()) == 100 + 4 * MAX_OBSERVED


def test_backend_that_is_called_other_is_counted_with_the_others() -> None:
    live = Live()
    live.burst(requests(OTHER, "a", OTHER))
    assert observed(live) == {"a": 1, OTHER: 2}
    assert counted(live) == {"a": 1}


def test_counts_since_the_start_outlast_the_hour_while_the_backend_is_seen() -> None:
    live = Live()
    for _ in range(30):
        live.burst(requests("a", "a"), requests("a", status_code=503))
        live.wait(600)
    assert observed(live)["a"] < 90
    (by,) = live.state.request_totals(0).backends.values()
    assert {name: n for name, n in by.items() if n} == {"status_2xx": 60, "status_5xx": 30}


def test_most_frequent_hundred_are_counted() -> None:
    live = Live()
    names = [f"b{n}" for n in range(MAX_COUNTED + 50)]
    live.burst(requests(*names, *names[50:]))
    assert counted(live) == dict.fromkeys(names[50:], 2)
    assert live.state.request_totals(0).backends_followed == MAX_COUNTED + 50


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20)


@given(st.lists(st.tuples(names, st.sampled_from([0, 1, 299, 300, 1000, 4000])), max_size=15))
@settings(max_examples=100)
def test_count_since_the_start_falls_only_where_its_endpoint_lost_its_row(
    moves: list[tuple[list[str], int]],
) -> None:
    live, before = Live(limit=3), dict[tuple[str, str], int]()
    sent: dict[tuple[str, str], int] = {}
    for paths, wait in moves:
        live.burst([GOOD["request"] | {"path": path} for path in paths])
        for path in paths:
            sent["GET", path] = sent.get(("GET", path), 0) + 1
        totals = live.state.request_totals(3)
        now = {endpoint: sum(by.values()) for endpoint, by in totals.endpoints.items()}
        for endpoint, count in now.items():
            assert count <= sent[endpoint]
            if endpoint in before and count < before[endpoint]:
                assert count <= paths.count(endpoint[1])  # dropped, and followed anew, in the burst
        assert sum(sum(by.values()) for by in totals.methods.values()) == sum(sent.values())
        before = now
        live.wait(wait)
