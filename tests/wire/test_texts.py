import msgpack
import pytest
from sample_events import GOOD, accepted, decode, flows, only, rows

from aegisd.events.protocol import KINDS, FieldType

TEXTS = [
    (kind, field.name, field.limit)
    for kind, fields in KINDS.items()
    for field in fields
    if field.type is FieldType.TEXT and field.name != "source"
]
LIMITS = {
    "method": 16,
    "path": 2048,
    "route": 2048,
    "backend": 255,
    "backend_name": 255,
    "key": 255,
    "client_ip": 64,
    "error_message": 1024,
}


def with_bytes(kind: str, name: str, text: bytes) -> bytes:
    """A message with one event whose text has exactly these bytes."""
    event = msgpack.packb(GOOD[kind] | {name: "@@"})
    header = b"\xda" + len(text).to_bytes(2, "big")
    return event.replace(b"\xa2@@", header + text)


def kept(kind: str, name: str, text: bytes) -> tuple[str, int]:
    """What is kept of a text, and how many were counted as altered."""
    decoded = decode(with_bytes(kind, name, text))
    ((row,), altered) = rows(decoded.blocks), decoded.altered
    return row[name], altered


def test_limits_of_texts_are_those_of_the_contract() -> None:
    assert {name: limit for _, name, limit in TEXTS} == LIMITS


@pytest.mark.parametrize(("kind", "name", "limit"), TEXTS)
def test_text_of_the_limit_is_kept_and_a_longer_one_cut(kind: str, name: str, limit: int) -> None:
    assert kept(kind, name, b"x" * limit) == ("x" * limit, 0)
    assert kept(kind, name, b"x" * (limit + 1)) == ("x" * limit, 1)
    assert kept(kind, name, b"x" * 60_000) == ("x" * limit, 1)
    assert kept(kind, name, b"") == ("", 0)


@pytest.mark.parametrize(("kind", "name", "limit"), TEXTS)
@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_cut_never_divides_a_character(kind: str, name: str, limit: int, character: str) -> None:
    for before in range(4):
        text = "x" * before + character * limit
        held, altered = kept(kind, name, text.encode())
        assert text.startswith(held)
        assert limit - len(character.encode()) < len(held.encode()) <= limit
        assert altered == 1


def test_limit_counts_bytes_not_characters() -> None:
    assert kept("request", "method", ("é" * 8).encode()) == ("é" * 8, 0)
    assert kept("request", "method", ("é" * 9).encode()) == ("é" * 8, 1)


@pytest.mark.parametrize(("kind", "name", "limit"), TEXTS)
def test_nul_and_what_is_not_utf8_becomes_the_replacement_character(
    kind: str, name: str, limit: int
) -> None:
    assert kept(kind, name, b"a\0b") == ("a\ufffdb", 1)
    assert kept(kind, name, b"a\xffb") == ("a\ufffdb", 1)
    assert kept(kind, name, b"\xc3") == ("\ufffd", 1)
    assert kept(kind, name, b"\xc0\x80") == ("\ufffd\ufffd", 1)  # an overlong NUL
    assert kept(kind, name, b"\xed\xa0\x80") == ("\ufffd" * 3, 1)  # a surrogate
    assert kept(kind, name, "\ufffd".encode()) == ("\ufffd", 0)  # was there already


def test_mended_text_is_within_its_limit_and_has_no_nul() -> None:
    text, altered = kept("request", "path", b"/\0\xff" * 2000)
    assert altered == 1
    assert len(text.encode()) <= 2048
    assert "\0" not in text


def test_every_altered_text_is_counted() -> None:
    event = GOOD["request"] | {"method": "M" * 17, "path": "/\0", "backend": "ok"}
    assert decode(event).altered == 2
    assert decode([event] * 10).altered == 20
    assert decode([event] * 10, event, {"events": [event, GOOD["request"]]}).altered == 24


def test_texts_of_rejected_events_are_not_counted_as_altered() -> None:
    bad = GOOD["request"] | {"path": "/\0", "status_code": 1000}
    decoded = decode([bad, GOOD["request"]])
    assert (accepted(decoded), decoded.altered) == (1, 0)


def test_texts_that_differ_only_in_what_is_cut_become_the_same() -> None:
    events = [GOOD["request"] | {"method": "M" * 16 + tail} for tail in ("", "a", "b")]
    decoded = decode(events)
    assert [row["method"] for row in rows(decoded.blocks)] == ["M" * 16] * 3
    assert decoded.altered == 2


def test_source_is_cut_and_cleaned_and_counted_once() -> None:
    envelope = {"source": "s\0" + "x" * 300, "seq": 0, "events": [GOOD["system"]] * 2}
    decoded = decode(envelope)
    name = "s\ufffd" + "x" * 251
    assert [source for source, _, _ in flows(decoded)] == [name]
    assert [row["source"] for row in rows(decoded.blocks)] == [name] * 2
    assert decoded.altered == 1


def test_source_of_the_event_itself_is_cut() -> None:
    assert only([GOOD["system"] | {"source": "é" * 200}])["source"] == "é" * 127
