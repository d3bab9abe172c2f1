"""The forms of the log, as a separate process writes them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAM = """
import structlog
from aegisd.config.settings import Log
from aegisd.daemon.logs import configure
configure(Log(level={level!r}, format={form!r}))
log = structlog.get_logger()
log.debug("first"); log.info("second", figure=5); log.warning("third"); log.error("fourth")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("fifth")
"""


def written(form: str, level: str, file: Path, **environment: str) -> list[str]:
    with file.open("w") as stderr:
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(form=form, level=level)],
            stderr=stderr,
            env={k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"} | environment,
            timeout=60,
            check=True,
        )
    return file.read_text().splitlines()


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 5), ("info", 4), ("warning", 3), ("error", 2)]
)
def test_lines_below_the_level_are_not_written(level: str, count: int, tmp_path: Path) -> None:
    lines = [json.loads(text) for text in written("json", level, tmp_path / "log")]
    assert len(lines) == count
    assert {"event", "level", "timestamp"} <= set(lines[0])
    assert "ZeroDivisionError" in lines[-1]["exception"]


def test_file_gets_the_console_form_without_colours(tmp_path: Path) -> None:
    lines = written("auto", "info", tmp_path / "log")
    assert "second" in lines[0]
    assert "figure=5" in lines[0]
    assert "\x1b" not in "".join(lines)


def test_journald_lines_start_with_their_priority(tmp_path: Path) -> None:
    lines = written("journald", "debug", tmp_path / "log")
    assert [text[:3] for text in lines[:5]] == ["<7>", "<6>", "<4>", "<3>", "<3>"]
    assert all(text.startswith("<3>") for text in lines[4:])
    assert len(lines) > 5  # the traceback's lines too


def test_journald_is_recognised_by_journal_stream(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    status = file.stat()
    stream = f"{status.st_dev}:{status.st_ino}"
    assert written("auto", "info", file, JOURNAL_STREAM=stream)[0].startswith("<6>")
    assert not written("auto", "info", file, JOURNAL_STREAM="1:2")[0].startswith("<6>")


LEAKING = """
import asyncio, logging, warnings
import structlog, trio
from aegisd.config.settings import Log
from aegisd.daemon.logs import configure
configure(Log(level="info", format={form!r}))
def ask(bearer):
    raise RuntimeError("broken")
token = "S3" + "CRET"
try:
    ask(token)
except RuntimeError as error:
    structlog.get_logger().exception("by structlog")
    logging.getLogger("asyncio").error("by a library", exc_info=True)
warnings.warn("by a warning")
async def main():
    ask("S3" + "CRET")
trio.run(main)
"""


@pytest.mark.parametrize("form", ["console", "json", "journald"])
def test_traceback_shows_no_values_even_with_rich_installed(form: str) -> None:
    assert find_spec("rich") is not None  # whose tracebacks show them
    done = subprocess.run(
        [sys.executable, "-c", LEAKING.format(form=form)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1  # by the last, which nobody catches
    assert done.stderr.count("RuntimeError: broken") == 3
    assert "by a warning" in done.stderr
    assert "S3CRET" not in done.stderr + done.stdout
