"""``aegisd journal``: its output has no unprintable character, and still means the same."""

import json
from pathlib import Path

import msgpack
import pytest
from sample_events import keep_all_decoder
from store.journals import add, opened

from aegisd.store.journal import pack_blocks

NOW = 1_790_000_000_000_000
HOSTILE = [
    "\x1b[31m",
    "\x9b31m",
    "\x85",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u2028",
    "\ufeff",
    "\U000e0041",
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal"


@pytest.fixture
def config(tmp_path: Path, journal: Path) -> Path:
    file = tmp_path / "aegisd.toml"
    file.write_text(f'[storage]\njournal = "{journal}"')
    return file


def keep(directory: Path, *paths: str) -> None:
    """Write a journal with a request for each path, as the daemon keeps it."""
    message = msgpack.packb([{"method": "GET", "path": path, "status_code": 200} for path in paths])
    with opened(directory) as journal:
        for decoded in keep_all_decoder(2**62).decode([message], NOW):
            add(journal, pack_blocks(decoded.blocks), events=len(paths))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_export_escapes_unprintable_text(command, config, journal: Path, hostile: str) -> None:
    keep(journal, f"/a{hostile}b")
    outcome = command("journal", "export", "--config", config)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.removesuffix("\n").isprintable()
    assert json.loads(outcome.out)["path"] == f"/a{hostile}b"


def test_export_keeps_printable_text(command, config, journal: Path) -> None:
    keep(journal, "/ü/日本/\U0001f600", '/"\\')
    lines = command("journal", "export", "--config", config).out.splitlines()
    assert '"path": "/ü/日本/\U0001f600"' in lines[0]
    assert json.loads(lines[1])["path"] == '/"\\'


def test_export_writes_each_kind_with_the_wire_s_names_and_units(
    command, config, journal: Path
) -> None:
    sent = [
        {
            "kind": "request",
            "method": "GET",
            "path": "/a",
            "status_code": 200,
            "duration_ms": 2.5,
            "timestamp": 1_790_000_000.25,
            "endpoint": "/a",
        },
        {
            "kind": "backend",
            "backend_name": "b",
            "status": "healthy",
            "response_time_ms": 1.5,
            "timestamp": 1_790_000_000.0,
        },
    ]
    with opened(journal) as kept:
        for decoded in keep_all_decoder(2**62).decode([msgpack.packb(sent)], NOW):
            add(kept, pack_blocks(decoded.blocks), events=len(sent))
    lines = command("journal", "export", "--config", config).out.splitlines()
    assert [json.loads(line) for line in lines] == sent


def test_exported_events_can_be_sent(command, config, journal, listener, stdin) -> None:
    keep(journal, *HOSTILE)
    stdin(command("journal", "export", "--config", config).out.encode())
    assert command("send", "--to", listener.address, "-").code == 0
    assert [event["path"] for event in listener.messages()] == HOSTILE


@pytest.mark.parametrize("action", ["inspect", "export"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_unprintable_file_name_is_replaced(command, config, journal: Path, action, hostile) -> None:
    keep(journal, "/")
    (journal / f"a{hostile}b.segment.corrupt").write_bytes(b"x" * 100)
    outcome = command("journal", action, "--config", config)
    assert outcome.code == 0
    said = outcome.out + outcome.err
    assert "a\ufffd" in said
    assert said.replace("\n", "").isprintable()


def test_unprintable_text_in_a_damaged_entry_is_replaced(command, config, journal: Path) -> None:
    with opened(journal) as kept:
        add(kept, msgpack.packb([["kind\x9b31m\u202e", 1, {}, {}]]))
    outcome = command("journal", "export", "--config", config)
    assert outcome.code == 1
    assert "kind\ufffd31m\ufffd" in outcome.err
    assert outcome.err.removesuffix("\n").isprintable()
