from hypothesis import given
from hypothesis import strategies as st

from aegisd.events.flows import Flows
from aegisd.intake.sources import MAX_SOURCES, SOURCE_SILENCE_SECONDS, Sources


def lost(*flows: tuple[int | None, int]) -> int:
    sources = Sources()
    for seq, count in flows:
        sources.add(Flows.of([(0, "s", seq, count)]), 0)
    return sources.known["s"].lost


def test_events_missing_between_two_messages_are_lost() -> None:
    assert lost((0, 10)) == 0
    assert lost((0, 10), (10, 5)) == 0
    assert lost((0, 10), (13, 5)) == 3
    assert lost((0, 10), (13, 5), (20, 1)) == 5


def test_loss_is_counted_from_the_first_message() -> None:
    assert lost((1000, 10)) == 0
    assert lost((1000, 10), (1010, 1)) == 0


def test_heartbeat_shows_the_loss_before_it() -> None:
    assert lost((0, 10), (10, 0)) == 0
    assert lost((0, 10), (15, 0)) == 5


def test_late_message_lowers_the_loss_again() -> None:
    assert lost((0, 10), (20, 10)) == 10
    assert lost((0, 10), (20, 10), (10, 10)) == 0
    assert lost((10, 10), (0, 10)) == 0


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.data())
def test_messages_in_any_order_show_no_loss(counts: list[int], data: st.DataObject) -> None:
    flows = [(sum(counts[:i]), count) for i, count in enumerate(counts)]
    shuffled = data.draw(st.permutations(flows))
    assert lost(*shuffled) == 0
    gone = data.draw(st.sets(st.integers(1, max(1, len(flows) - 2))))
    if len(flows) > 2:
        there = [flow for i, flow in enumerate(flows) if i not in gone]
        ends = (0, 0), (sum(counts), 0)
        missing = sum(counts) - sum(count for _, count in there)
        assert lost(*data.draw(st.permutations([*there, *ends]))) == missing


def test_repeated_message_never_makes_the_loss_negative() -> None:
    assert lost((0, 10), (0, 10), (0, 10)) == 0


def test_messages_without_a_seq_count_as_received_only() -> None:
    sources = Sources()
    sources.add(Flows.of([(0, "s", None, 5), (0, "s", 0, 3), (0, "s", None, 5), (0, "s", 3, 1)]), 0)
    assert (sources.known["s"].received, sources.known["s"].lost) == (14, 0)


def test_sources_are_kept_apart() -> None:
    sources = Sources()
    sources.add(Flows.of([(0, "a", 0, 1), (0, "b", 0, 1), (0, "a", 5, 1), (0, "b", 1, 1)]), 0)
    assert {name: source.lost for name, source in sources.known.items()} == {"a": 4, "b": 0}


def test_silent_sources_are_forgotten() -> None:
    sources = Sources()
    sources.add(Flows.of([(0, "a", 0, 1), (0, "b", 0, 1)]), 100)
    sources.add(Flows.of([(0, "b", 1, 1)]), 101)
    sources.forget(100 + SOURCE_SILENCE_SECONDS - 1)
    assert sorted(sources.known) == ["a", "b"]
    sources.forget(100 + SOURCE_SILENCE_SECONDS)
    assert sorted(sources.known) == ["b"]


def test_source_silent_longest_makes_room() -> None:
    sources = Sources()
    sources.add(Flows.of([(0, str(i), None, 1) for i in range(MAX_SOURCES)]), 1)
    sources.add(Flows.of([(0, "0", None, 1), (0, "new", None, 1)]), 1)
    assert len(sources.known) == MAX_SOURCES
    assert {"0", "new"} <= sources.known.keys()
    assert "1" not in sources.known
