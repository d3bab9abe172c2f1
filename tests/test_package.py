"""What is built from the tree carries all that the dashboard needs, as long as npm gave it once."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")

TREE = Path(__file__).parents[1]
VENDOR = "aegisd/web/dashboard/vendor"
FILES = {"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE.txt"}
ASK_FOR_ASSET = """
from aegisd.config.settings import WebSocket
from aegisd.web import PageAnswers
import aegisd
print(aegisd.__file__)
print("vendor/uPlot.iife.min.js" in PageAnswers(WebSocket()).assets)
"""


def build(tree: Path, target: str, into: Path, **environment: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    done = subprocess.run(
        command,
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    (made,) = into.iterdir()
    return made


def test_page_of_a_built_wheel_has_the_script_for_plots(tmp_path: Path) -> None:
    wheel = build(TREE, "wheel", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    assert {file.name for file in (tmp_path / "installed" / VENDOR).iterdir()} == FILES
    asked = subprocess.run(
        [sys.executable, "-c", ASK_FOR_ASSET],
        cwd=tmp_path / "installed",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        timeout=60,
        check=True,
    )
    place, has = asked.stdout.decode().split()
    assert place.startswith(str(tmp_path))
    assert has == "True"


def test_an_sdist_becomes_a_wheel_without_npm(tmp_path: Path) -> None:
    sdist = build(TREE, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("aegisd-*")
    wheel = build(unpacked, "wheel", tmp_path / "wheel", PATH="/nowhere")
    with zipfile.ZipFile(wheel) as archive:
        assert {f"{VENDOR}/{name}" for name in FILES} <= set(archive.namelist())
