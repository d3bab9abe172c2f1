"""Patterns of paths: which are accepted, and the problems of the others."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.config.patterns import MAX_PATTERN_CHARACTERS, MAX_PATTERNS, parse
from aegisd.wire.naming.patterns import Patterns

NO_SEGMENT = "is neither fixed text nor {name} nor, as the last segment, {name*}"


def paths(*patterns: str) -> str:
    return f"[paths]\npatterns = {list(patterns)!r}"


def test_patterns_keep_their_order(read) -> None:
    given_ = ("/users/me", "/users/{name}", "/users/{name}/", "/files/{path*}", "/v1/a:b/@c/ü d")
    assert read(paths(*given_)).paths.patterns == given_
    environment = {"AEGISD_PATHS__PATTERNS": '["/a/{b}"]'}
    assert read(paths(*given_), environment).paths.patterns == ("/a/{b}",)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "'' does not start with /"),
        ("users/{id}", "'users/{id}' does not start with /"),
        ("/users/:id", f"'/users/:id': ':id' {NO_SEGMENT}"),
        ("/users/<id>", f"'/users/<id>': '<id>' {NO_SEGMENT}"),
        ("/users/*", f"'/users/*': '*' {NO_SEGMENT}"),
        ("/a/{b}.json", f"'/a/{{b}}.json': '{{b}}.json' {NO_SEGMENT}"),
        ("/a/{b}{c}", f"'/a/{{b}}{{c}}': '{{b}}{{c}}' {NO_SEGMENT}"),
        ("/a/{}", f"'/a/{{}}': '{{}}' {NO_SEGMENT}"),
        ("/a/{1}", f"'/a/{{1}}': '{{1}}' {NO_SEGMENT}"),
        ("/a/{b:int}", f"'/a/{{b:int}}': '{{b:int}}' {NO_SEGMENT}"),
        ("/a/{b", f"'/a/{{b': '{{b' {NO_SEGMENT}"),
        ("/a/{b*}/c", f"'/a/{{b*}}/c': '{{b*}}' {NO_SEGMENT}"),
        ("/a/{b*}/", f"'/a/{{b*}}/': '{{b*}}' {NO_SEGMENT}"),
        ("/a?b=c", f"'/a?b=c': 'a?b=c' {NO_SEGMENT}"),
        ("/a#b", f"'/a#b': 'a#b' {NO_SEGMENT}"),
        ("/(a+)+$/{b}", None),  # fixed text, whatever it may mean elsewhere
        ("/" + "x" * 255, "has 256 characters, more than 255"),
        ("/" + "x" * 254, None),
    ],
)
def test_wrong_pattern_gives_its_problem(read, problems, pattern: str, problem: str | None) -> None:
    assert MAX_PATTERN_CHARACTERS == 255
    if problem is None:
        assert read(paths("/good", pattern)).paths.patterns[1] == pattern
    else:
        assert problems(paths("/good", pattern)) == [f"paths.patterns[1]: {problem}"]


def test_each_wrong_pattern_gives_a_line(problems) -> None:
    assert problems("[paths]\npatterns = ['a', '/b', 5, '/\\u0001', \"/\\u0001\"]") == [
        "paths.patterns[0]: 'a' does not start with /",
        "paths.patterns[2]: 5 is not text",
        f"paths.patterns[4]: '/\\x01': '\\x01' {NO_SEGMENT}",
    ]
    assert problems("[paths]\npatterns = '/a'") == ["paths.patterns: is not a list"]


def test_pattern_covered_by_an_earlier_one_is_a_problem(problems) -> None:
    line = "paths.patterns[{}]: '{}' never counts, since '{}' before it takes all its paths; put"
    found = problems(
        paths("/a/{b}", "/c/{d*}", "/a/x", "/a/{c}", "/c/{d}/e", "/c/{e*}", "/c", "/a/", "/a/{b}/")
    )
    assert [problem.partition(" the narrower one first")[0] for problem in found] == [
        line.format(2, "/a/x", "/a/{b}"),
        line.format(3, "/a/{c}", "/a/{b}"),
        line.format(4, "/c/{d}/e", "/c/{d*}"),
        line.format(5, "/c/{e*}", "/c/{d*}"),
    ]


def test_more_patterns_than_the_limit_are_a_problem(read, problems) -> None:
    most = [f"/{n}/{{x}}" for n in range(MAX_PATTERNS)]
    assert len(read(paths(*most)).paths.patterns) == MAX_PATTERNS
    assert problems(paths(*most, "/more")) == ["paths.patterns: has 501 patterns, more than 500"]


SEGMENTS = st.sampled_from(["", "a", "b", "{x}"])
TEXTS = st.builds(
    lambda fixed, rest: "".join(f"/{segment}" for segment in [*fixed, *rest]),
    st.lists(SEGMENTS, min_size=1, max_size=3),
    st.sampled_from([[], ["{rest*}"]]),
)
# of every length that tells patterns apart, with a segment that no pattern names
EVERY_PATH = [
    "".join(f"/{segment}" for segment in segments)
    for length in range(1, 6)
    for segments in product(["", "a", "b", "c"], repeat=length)
]


@given(TEXTS, TEXTS)
def test_pattern_covers_another_if_it_matches_all_its_paths(one: str, other: str) -> None:
    takes_one, takes_other = Patterns([one]).first, Patterns([other]).first
    expected = all(takes_one(path) for path in EVERY_PATH if takes_other(path))
    assert parse(one).covers(parse(other)) == expected
