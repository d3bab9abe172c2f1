"""What docs/wire.md promises to authors of emitters is so."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from vectors import VECTORS

from aegisd.events.protocol import KINDS, Reason, camel_case

PAGE = (Path(__file__).parents[2] / "docs/wire.md").read_text()
MESSAGES = {vector["name"]: vector["message"] for vector in VECTORS}

NAME = re.compile(r"`([a-z-]+)`")
BYTES = re.compile(r"\s*((?:(?:[0-9a-f]{2})+\s+)+)")
"""The bytes at a line's beginning; a comment follows."""


def examples() -> list[tuple[str, str]]:
    """The worked examples: the vector that is named last before each, and its bytes in hex."""
    found = []
    for before, behind in pairwise(PAGE.split("```hex\n")):
        *_, name = (name for name in NAME.findall(before) if name in MESSAGES)
        lines = map(BYTES.match, behind.split("```")[0].splitlines())
        found.append((name, "".join("".join(line[1].split()) for line in lines if line)))
    return found


def test_page_has_an_example_of_each_form() -> None:
    forms = ["request-with-duration", "list-of-two", "envelope", "event-with-source-and-seq"]
    assert [name for name, _ in examples()] == [*forms, "heartbeat", "columns-recommended"]


@pytest.mark.parametrize(("name", "data"), examples())
def test_example_of_the_page_equals_the_vector_it_names(name: str, data: str) -> None:
    assert data == MESSAGES[name]


def test_shell_example_of_the_page_is_a_vector() -> None:
    (written,) = re.findall(r"printf '(.*)' > /dev/udp", PAGE)
    data = written.encode().decode("unicode_escape").encode("latin-1")
    assert data.hex() == MESSAGES["request-required-fields"]


def test_page_has_every_name_of_the_protocol() -> None:
    fields = [field for kind in KINDS.values() for field in kind]
    names = {*KINDS, *Reason, *VECTORS[0], *(field.name for field in fields)}
    names |= {choice for field in fields for choice in field.choices}
    names |= {camel_case(field.name) for field in fields}
    assert not {name for name in names if f"`{name}`" not in PAGE}
    assert not {str(f.limit) for f in fields if f.limit and not re.search(rf"\b{f.limit}\b", PAGE)}
