"""``aegisd journal``: what the journal of a stopped daemon holds, as text or JSON lines."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aegisd.cli.printable import clean, escape_unprintable, json_escape
from aegisd.config.directories import Directories
from aegisd.config.load import load
from aegisd.errors import AegisdError
from aegisd.events.block import ABSENT, Block
from aegisd.events.protocol import KINDS
from aegisd.events.units import MILLISECOND_US, SECOND_US
from aegisd.store.journal import (
    hold_journal,
    inspect_file,
    list_files,
    read_file,
    repair_file,
    unpack_blocks,
)
from aegisd.times import rfc3339

_FIELDS = {field.column: field.name for fields in KINDS.values() for field in fields}


def journal(config: Path | None, action: str) -> None:
    """Inspect, repair or export the configured journal. Raises AegisdError while it is in use."""
    directory = Path(Directories.here().expand(load(config).storage.journal))
    hold_journal(directory)
    {"inspect": _inspect, "repair": _repair, "export": _export}[action](directory)


def _inspect(directory: Path) -> None:
    for report in map(inspect_file, list_files(directory)):
        line = f"{report.path.name}: {report.events} events in {report.records} entries"
        if report.written is not None:
            first, last = (rfc3339(when * SECOND_US) for when in report.written)
            line += f", positions {report.first} to {report.end}, written {first} to {last}"
        if report.damaged:
            line += f"; {report.damaged} bytes are damaged"
        print(clean(line))


def _repair(directory: Path) -> None:
    for path in list_files(directory):
        if path.suffix == ".segment" and (cut := repair_file(path)):
            print(f"{path.name}: {cut} damaged bytes cut out; as it was: {path.name}.damaged")


def _export(directory: Path) -> None:
    """Print all events, also those of files that were set aside."""
    for path in list_files(directory):
        records, damaged = read_file(path)
        if damaged:
            message = f"{path.name}: {damaged} bytes are damaged and left out"
            print(clean(message), file=sys.stderr)
        for record in records:
            if not record.events:
                continue
            try:
                blocks = unpack_blocks(record.payload)
            except ValueError as error:
                raise AegisdError(f"{path.name}: {error}") from None
            for block in blocks:
                for event in _events(block):
                    print(escape_unprintable(json.dumps(event, ensure_ascii=False), json_escape))


def _events(block: Block) -> Iterator[dict[str, Any]]:
    """The events in the form that ``aegisd send -`` reads, with all that was computed from them."""
    columns: dict[str, list[Any]] = {name: text.rows() for name, text in block.texts.items()}
    for name, column in block.numbers.items():
        absent = (column == ABSENT) | np.isnan(column)
        scale = SECOND_US if name == "timestamp" else MILLISECOND_US if name.endswith("_us") else 1
        values = column.tolist() if scale == 1 else (column / scale).tolist()
        columns[_FIELDS.get(name, name)] = [
            None if gone else value for gone, value in zip(absent.tolist(), values, strict=True)
        ]
    for row in zip(*columns.values(), strict=True):
        given = {name: v for name, v in zip(columns, row, strict=True) if v is not None}
        yield {"kind": block.kind, **given}
