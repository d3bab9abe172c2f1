"""axe-core, which finds what keeps people from using a page; from npm, as its lock file pins it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

PACKAGE = Path(__file__).parent / "axe"
FETCH_SECONDS = 120
GRAVE = {"serious", "critical"}


def fetch_axe(folder: Path) -> str:
    """The script's source. Raises CalledProcessError where npm cannot fetch it."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_SECONDS)
    return (folder / "node_modules/axe-core/axe.min.js").read_text("utf-8")


def grave_findings(page: Page, axe: str) -> list[str]:
    """What axe finds serious or critical on the page as it is now: rule, what is wrong, where."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {violation['help']}: {node['html']}"
        for violation in found["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]
