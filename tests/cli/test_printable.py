"""Text from outside is replaced where a terminal would obey it."""

import pytest

from aegisd.cli.printable import clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/a\x1b[31mb", "/a�[31mb"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x9b2J\x85\x7f\r\n\t", "�2J�����"),
        ("/\u202egpj.exe", "/�gpj.exe"),
        ("\u200b\u2028\ufeff\ud800\U000e0041", "�����"),
        ("/e\u0301", "/é"),
        ("\u0301x", "�x"),
        ("o" + "\u0332" * 50, "o\u0332\u0332�"),
        ("\n\u0301", "�"),
        ("/ก็่น้ำ", "/ก็่น้ำ"),
    ],
)
def test_unprintable_characters_and_extra_marks_are_replaced(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned
