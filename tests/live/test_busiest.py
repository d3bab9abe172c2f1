from hypothesis import given, settings
from hypothesis import strategies as st
from live_state import Live
from sample_events import GOOD, word

from aegisd.events.counters import OTHER
from aegisd.live import busiest
from aegisd.live.endpoint_rows import MAX_METHODS


def requests(*paths: str, **fields: object) -> list[dict[str, object]]:
    return [GOOD["request"] | {"path": path} | fields for path in paths]


REAL = {f"/real/r{i}x" for i in range(100)}


def scan(live: Live, count: int = 10_000, size: int = 500) -> None:
    """Distinct paths, once each."""
    for start in range(0, count, size):
        live.burst(requests(*(f"/scan/{word(n)}" for n in range(start, start + size))))


def test_endpoints_are_method_and_path_most_requests_first() -> None:
    live = Live()
    live.burst(requests("/a", "/b", "/b", "/users/1", "/users/2", "/users/3", status_code=404))
    live.burst(requests("/b", method="POST", duration_ms=7))
    top = [(f.method, f.path, f.requests, f.failed) for f in live.state.top_endpoints(10)]
    assert top == [
        ("GET", "/users/{id}", 3, 3),
        ("GET", "/b", 2, 2),
        ("GET", "/a", 1, 1),
        ("POST", "/b", 1, 0),
    ]
    assert [f.path for f in live.state.top_endpoints(2)] == ["/users/{id}", "/b"]


def test_scanner_displaces_no_endpoint() -> None:
    live = Live(limit=len(REAL))
    live.burst(requests(*REAL))
    assert live.top() == dict.fromkeys(REAL, 1)
    scan(live)
    assert live.top() == dict.fromkeys(REAL, 1) | {OTHER: 10_000}


def test_scanner_that_returns_displaces_no_endpoint() -> None:
    live = Live(limit=len(REAL))
    for minute in range(8 * 60):
        if minute % 60 == 0:
            live.burst(requests(*REAL))
        if minute % 70 == 65:
            scan(live, 2000)
            assert live.top().keys() >= REAL
        live.wait(60)


def test_endpoint_seen_more_often_displaces_a_scanner_s_path() -> None:
    live = Live(limit=50)
    scan(live, 1000)
    for n in range(3):
        live.burst(requests("/real"))
        assert ("/real" in live.top()) == (n > 0)
    assert live.top()["/real"] >= 1
    assert sum(live.top().values()) == 1003


def test_endpoints_of_one_burst_have_their_own_requests() -> None:
    live = Live(limit=3)
    live.burst(requests("/a", "/b", "/c", "/d"))
    top = live.top()
    assert top.pop(OTHER) == 1
    assert sorted(top.values()) == [1, 1, 1]


def test_endpoint_is_not_displaced_by_one_with_fewer_requests_in_the_same_burst() -> None:
    live = Live(limit=2)
    live.burst(requests("/real", "/x", "/x"))
    assert live.top() == {"/real": 1, "/x": 2}
    live.burst(requests(*["/real"] * 1000, *["/new"] * 2))
    assert live.top() == {"/real": 1001, "/x": 2, OTHER: 2}
    live.burst(requests(*["/real"] * 5, *["/new"] * 9))
    assert live.top() == {"/real": 1006, "/new": 9, OTHER: 4}


def test_endpoint_of_a_method_without_a_code_is_not_displaced_either() -> None:
    live = Live(limit=MAX_METHODS + 1)
    for n in range(MAX_METHODS):
        live.burst(requests(*["/x"] * 5, method=f"M{n}"))
    live.burst(requests("/real", method="LAST"))
    assert live.top()["/real"] == 1
    live.burst([*requests(*["/real"] * 1000, method="LAST"), *requests(*["/new"] * 3)])
    assert live.top()["/real"] == 1001
    assert live.top()[OTHER] == 3


def test_each_candidate_of_a_burst_is_compared_with_the_rarest_then() -> None:
    live = Live(limit=2)
    live.burst(requests("/a", "/b", "/b"))
    assert live.top() == {"/a": 1, "/b": 2}
    live.burst(requests(*["/c"] * 3, *["/d"] * 3, *["/e"] * 3))
    assert live.top() == {"/c": 3, "/d": 3, OTHER: 6}


def test_requests_of_a_displaced_endpoint_count_as_other() -> None:
    live = Live(limit=1)
    live.burst(requests("/old"))
    assert live.top() == {"/old": 1}
    live.burst(requests("/old", *["/new"] * 3, duration_ms=1))
    assert live.top() == {"/new": 3, OTHER: 2}
    assert [f.average_us for f in live.state.top_endpoints(2)] == [1000, 1000]


paths = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20)


@given(st.lists(st.tuples(paths, st.sampled_from([0, 1, 299, 300, 900])), max_size=12))
@settings(max_examples=100)
def test_endpoints_and_other_add_up_to_the_total(moves: list[tuple[list[str], int]]) -> None:
    live, sent = Live(limit=3), 0
    for held, wait in moves:
        durations = len(held)
        live.burst([event | {"duration_ms": durations} for event in requests(*held)])
        sent += len(held)
        figures = live.state.top_endpoints(100)
        if sum(seconds for _, seconds in moves) < 3600:
            assert sum(f.requests for f in figures) == sent
        known = [f for f in figures if f.path != OTHER]
        ranks = [f.requests for f in known]
        assert ranks == sorted(ranks, reverse=True)
        assert all(f.average_us is not None and f.p95_us is not None for f in figures)
        live.wait(wait)


@given(st.lists(st.tuples(paths, st.sampled_from([0, 1, 299, 300, 1000])), max_size=12))
@settings(max_examples=100)
def test_no_endpoint_has_more_requests_than_were_sent_to_it(
    moves: list[tuple[list[str], int]],
) -> None:
    live = Live(limit=3)
    sent: dict[str, int] = {}
    for held, wait in moves:
        live.burst(requests(*held))
        for path in held:
            sent[path] = sent.get(path, 0) + 1
        top = live.top()
        assert all(n <= sent[path] for path, n in top.items() if path != OTHER)
        live.wait(wait)


def test_below_the_bound_every_endpoint_is_exact() -> None:
    live = Live(limit=8)
    for turn in range(1, 11):
        live.burst(requests(*"abcdefgh", *"aab" * turn))
        live.wait(300)
    assert OTHER not in live.top()
    assert (live.top()["a"], live.top()["b"], live.top()["h"]) == (10 + 110, 10 + 55, 10)


def test_endpoint_older_than_the_hour_leaves_and_frees_its_row() -> None:
    live = Live(limit=2)
    live.burst(requests("/a", "/b", "/c"))
    live.wait(3600)
    assert live.top() == {"/a": 1, "/b": 1, OTHER: 1}
    live.wait(300)
    assert live.top() == {}
    live.burst(requests("/c", "/d"))
    assert live.top() == {"/c": 1, "/d": 1}


def test_latencies_of_the_hour_are_those_of_all_its_slots() -> None:
    live = Live()
    for milliseconds in (1, 100, 1000):
        live.burst(requests("/a", duration_ms=milliseconds))
        live.wait(1000)
    (figures,) = live.state.top_endpoints(1)
    assert (figures.requests, figures.average_us) == (3, 1_101_000 / 3)
    assert figures.p95_us is not None
    assert abs(figures.p95_us - 1_000_000) <= 10_000


def test_candidates_are_bounded() -> None:
    live = Live(limit=1)
    live.burst(requests("/real", "/real"))
    scan(live, 3 * busiest.MAX_CANDIDATES)
    assert len(live.state._endpoints._candidates) <= busiest.MAX_CANDIDATES
    assert live.top() == {"/real": 2, OTHER: -(-3 * busiest.MAX_CANDIDATES // 500) * 500}
