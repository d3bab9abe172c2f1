"""The unit files, as systemd itself reads them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
ANALYZE = shutil.which("systemd-analyze")
NAMES = ("aegisd.service", "aegisd.socket")


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no", *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def copy_with_a_program_that_exists(unit: Path, folder: Path) -> None:
    """systemd-analyze checks that ExecStart can be run, and aegisd is not installed here."""
    lines = unit.read_text().splitlines(keepends=True)
    commands = [line for line in lines if line.startswith("Exec")]
    for line in commands:
        key, _, command = line.partition("=")
        program = command.split()[0].lstrip("@-:+!")
        assert program.startswith("/"), f"{line}: not an absolute path"
        lines[lines.index(line)] = f"{key}={command.replace(program, sys.executable, 1)}"
    (folder / unit.name).write_text("".join(lines))


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
def test_systemd_analyze_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    units = [UNITS / name for name in NAMES if (UNITS / name).exists()]
    if not units:
        pytest.skip("there are no unit files yet")
    (tmp_path / "probe.service").write_text("[Service]\nExecStart=/bin/true\n")
    probe = verify(tmp_path)
    if probe.returncode != 0:
        pytest.skip(f"systemd-analyze doesn't work here: {probe.stderr.strip()}")
    (tmp_path / "probe.service").unlink()
    for unit in units:
        copy_with_a_program_that_exists(unit, tmp_path)
    done = verify(tmp_path)
    ours = [line for line in done.stderr.splitlines() if "aegisd" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr
