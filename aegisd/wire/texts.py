"""Texts as they are kept: valid UTF-8 without NUL, at most as long as their field allows."""

import numpy as np

from aegisd.events.block import Block, Text
from aegisd.events.protocol import KINDS, FieldType

REPLACEMENT = "\ufffd"


def clean(text: str, limit: int) -> str:
    """``text`` with NUL and invalid UTF-8 as U+FFFD, cut to ``limit`` bytes.

    Bytes that were not UTF-8 arrive as lone surrogates (msgpack's ``surrogateescape``).
    """
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    whole = text.replace("\0", REPLACEMENT).encode("utf-8", "surrogateescape")
    mended = whole.decode("utf-8", "replace").encode()
    return mended[:limit].decode("utf-8", "ignore")  # ignore: a character cut in two


def clean_column(text: Text, limit: int) -> tuple[Text, int]:
    """The column with its texts cleaned, and how many rows that altered."""
    values = list(filter(None, text.values))
    joined = "".join(values)
    short = len(joined) <= limit or max(map(len, values)) <= limit
    if short and joined.isascii() and "\0" not in joined:
        return text, 0
    kept = [None if v is None else clean(v, limit) for v in text.values]
    changed = np.array([a != b for a, b in zip(text.values, kept, strict=True)], np.bool_)
    return Text(kept, text.index), int(np.count_nonzero(changed[text.index]))


def clean_block(block: Block) -> tuple[Block, int]:
    """The block with all its texts cleaned, and how many texts of events that altered."""
    texts = dict(block.texts)
    altered = 0
    for field in KINDS[block.kind]:
        if field.type is FieldType.TEXT:
            texts[field.name], changed = clean_column(texts[field.name], field.limit)
            altered += changed
    return Block(block.kind, block.size, block.numbers, texts), altered
