"""The page's pure modules, tested by Node's own runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
FOLDER = Path(__file__).parent / "js"
SECONDS = 120


@pytest.mark.skipif(NODE is None, reason="there is no Node.js")
def test_page_modules_pass_their_own_tests() -> None:
    files = sorted(FOLDER.glob("*.test.js"))
    assert files
    done = subprocess.run(
        [NODE, "--test", *map(str, files)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
