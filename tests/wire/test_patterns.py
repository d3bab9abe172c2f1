"""The user's patterns for paths, against regular expressions that say the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegisd.config.patterns import MAX_PATTERNS
from aegisd.wire.naming.patterns import Patterns

SEGMENTS = st.sampled_from(["", "a", "b", "{x}", "{y-2}"])
TEXTS = st.builds(
    lambda fixed, rest: "".join(f"/{segment}" for segment in [*fixed, *rest]),
    st.lists(SEGMENTS, min_size=1, max_size=4),
    st.sampled_from([[], ["{rest*}"]]),
)
PATHS = st.lists(st.sampled_from(["", "a", "b", "{x}", "c"]), max_size=6).map("/".join)


def expression(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]*\})", text)
    return re.compile(
        "".join(
            re.escape(p) if p[:1] != "{" else ".*" if p.endswith("*}") else "[^/]+" for p in parts
        ),
        re.DOTALL,
    )


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("/", ["/"], ["", "//", "/a", "*"]),
        ("/a", ["/a"], ["/a/", "/A", "/ab", "a", "/a/b", "/%61", "//a", "http://a"]),
        ("/a/", ["/a/"], ["/a", "/a//", "/a/b"]),
        ("/u/{name}", ["/u/1", "/u/ü n", "/u/{name}", "/u/\n"], ["/u", "/u/", "/u/1/", "/u/1/2"]),
        ("/u/{a}/o/{b}", ["/u/1/o/2"], ["/u/1/o/", "/u//o/2", "/u/1/p/2", "/u/1/o/2/3"]),
        ("/{x}", ["/a", "/."], ["/", "/a/b", ""]),
        ("/f/{p*}", ["/f/", "/f/a", "/f/a/b/", "/f//", "/f/\n"], ["/f", "/fa", "/g/a", "f/"]),
        ("/f/{a}/{p*}", ["/f/a/", "/f/a/b/c"], ["/f/a", "/f//b", "/f/"]),
        ("/{p*}", ["/", "/a", "/a/b"], ["", "*", "a/b"]),
    ],
)
def test_pattern_matches_whole_paths_only(pattern: str, taken: list[str], left: list[str]) -> None:
    patterns = Patterns([pattern])
    assert {path: patterns.first(path) for path in taken} == dict.fromkeys(taken, pattern)
    assert {path: patterns.first(path) for path in left} == dict.fromkeys(left)


def test_without_patterns_no_path_matches() -> None:
    assert [Patterns([]).first(path) for path in ("", "/", "/a/b")] == [None, None, None]


@given(st.lists(TEXTS, max_size=6), PATHS)
def test_first_matching_pattern_is_the_one_that_matches_as_a_regular_expression(
    texts: list[str], path: str
) -> None:
    expected = next((text for text in texts if expression(text).fullmatch(path)), None)
    assert Patterns(texts).first(path) == expected


def test_the_most_patterns_are_matched_in_bounded_time_on_hostile_paths() -> None:
    texts = [f"{'/a/{x}' * 20}/{number}" for number in range(MAX_PATTERNS)]
    patterns = Patterns(texts)
    for number in (0, 63, 64, MAX_PATTERNS - 1):
        assert patterns.first("/a/a" * 20 + f"/{number}") == texts[number]
    for path in ("/a" * 1024, "/" * 2048, "/a/a" * 20, "/a/a" * 20 + "/x"):
        assert patterns.first(path) is None
