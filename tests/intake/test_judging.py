"""Verdicts on messages by their seq, as values."""

import pytest

from aegisd.events.flows import Flows
from aegisd.intake.judging import Origin, Verdict, judge
from aegisd.store.journal import Marks

UID = 1000
SOURCE = (UID, "s")
FIRST, SECOND = Origin(0, UID), Origin(1, UID)


def marks_at(mark: int | None) -> Marks:
    marks = Marks()
    if mark is not None:
        marks.move({SOURCE: mark})
    return marks


def judged(
    *messages: tuple[Origin, int | None, int], mark: int | None, unreadable: tuple[int, ...] = ()
) -> Verdict:
    """The verdict on messages of the source "s": where from, seq, events."""
    rows = [
        (number, "s", seq, count)
        for number, (_, seq, count) in enumerate(messages)
        if number not in unreadable
    ]
    origins = [origin for origin, _, _ in messages]
    return judge(origins, unreadable, Flows.of(rows), marks_at(mark))


@pytest.mark.parametrize("mark", [None, 0, 5, 10])
def test_seq_at_or_after_the_mark_is_new_and_moves_it(mark: int | None) -> None:
    verdict = judged((FIRST, 10, 3), mark=mark)
    assert verdict.moved == {SOURCE: 13}
    assert verdict.left_out == set()


@pytest.mark.parametrize("mark", [13, 14, 99])
def test_message_wholly_before_the_mark_is_a_duplicate(mark: int) -> None:
    verdict = judged((FIRST, 10, 3), mark=mark)
    assert (verdict.moved, verdict.duplicates) == ({}, {0: 10})


@pytest.mark.parametrize("mark", [11, 12])
def test_message_across_the_mark_straddles_and_counts_all_its_events(mark: int) -> None:
    verdict = judged((FIRST, 10, 3), mark=mark)
    assert (verdict.moved, verdict.straddling, verdict.straddling_events) == ({}, {0: 10}, 3)


def test_message_without_seq_is_taken_and_moves_no_mark() -> None:
    verdict = judged((FIRST, None, 3), mark=12)
    assert (verdict.moved, verdict.left_out) == ({}, set())


def test_message_is_compared_with_the_mark_that_earlier_messages_moved() -> None:
    verdict = judged((FIRST, 0, 2), (SECOND, 0, 2), (FIRST, 1, 2), mark=None)
    assert verdict.moved == {SOURCE: 2}
    assert (verdict.duplicates, verdict.straddling) == ({1: 0}, {2: 1})


def test_messages_behind_a_straddling_one_are_left_out_on_its_connection_only() -> None:
    verdict = judged((FIRST, 1, 3), (FIRST, 4, 1), (SECOND, 2, 1), mark=2)
    assert (verdict.straddling, verdict.behind) == ({0: 1}, {1})
    assert verdict.moved == {SOURCE: 3}


def test_messages_behind_an_unreadable_one_are_left_out_on_its_connection_only() -> None:
    verdict = judged((FIRST, None, 0), (FIRST, 0, 1), (SECOND, 0, 1), mark=None, unreadable=(0,))
    assert verdict.behind == {1}
    assert verdict.moved == {SOURCE: 1}


def test_heartbeat_at_the_mark_is_new_and_before_it_a_duplicate() -> None:
    assert judged((FIRST, 5, 0), mark=5).moved == {SOURCE: 5}
    assert judged((FIRST, 4, 0), mark=5).duplicates == {0: 4}
