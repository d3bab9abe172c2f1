"""Text is fitted and cut by the cells that it takes on a terminal."""

import pytest

from aegisd.cli.top.cells import Span, Style, ansi, cut, fit, line, plain, width


@pytest.mark.parametrize(
    ("text", "columns", "fitted"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 5, "abcd…"),
        ("漢字", 5, "漢字 "),
        ("漢字漢字", 5, "漢字…"),
        ("漢字漢字", 4, "漢… "),
        ("e\u0332e\u0332e\u0332", 2, "e\u0332…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", -3, ""),
    ],
)
def test_text_is_padded_or_cut_to_its_cells(text: str, columns: int, fitted: str) -> None:
    assert fit(text, columns) == fitted
    assert width(fitted) == max(columns, 0)


def test_line_is_cut_across_its_spans() -> None:
    whole = line("abc", Span("漢字", Style.BAD), "def")
    assert cut(whole, 10) == whole
    assert [plain(cut(whole, n)) for n in (9, 7, 6, 5, 4, 3, 1, 0)] == [
        *("abc漢字d…", "abc漢…", "abc漢…", "abc…", "abc…", "ab…", "…", ""),
    ]


def test_each_style_ends_after_its_span_and_colors_are_optional() -> None:
    spans = line(Span("a", Style.BAD), "b", Span("c", Style.GOOD))
    assert ansi(spans, color=True) == "\x1b[1;31ma\x1b[0mb\x1b[32mc\x1b[0m"
    assert ansi(spans, color=False) == "\x1b[1ma\x1b[0mbc"
