"""A real Prometheus that scrapes one daemon."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import pytest
from attrs import frozen
from support import START_SECONDS, wait_until

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: aegisd
    static_configs: [{{targets: ["{target}"]}}]
    {authorization}
"""


def program(name: str) -> str:
    """Where Debian's ``prometheus`` or ``promtool`` is; the test is skipped without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


@frozen
class Prometheus:
    """Its HTTP API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query: labels as ``metric``, time and text as ``value``."""
        return self._get(f"query?query={quote(expression)}")["result"]

    def values(self, expression: str, *labels: str) -> dict[Any, float]:
        """The values of an instant query, by one label or by several."""
        return {
            tuple(series["metric"][label] for label in labels)
            if len(labels) > 1
            else series["metric"].get("".join(labels)): float(series["value"][1])
            for series in self.query(expression)
        }

    def value(self, expression: str) -> float | None:
        """The value of an expression that gives one series; None if it gives none."""
        return next(iter(self.values(expression).values()), None)

    def last_error(self) -> str:
        """Why the last scrape failed, or nothing."""
        (target,) = self._get("targets")["activeTargets"]
        return target["lastError"]

    def _get(self, question: str) -> Any:
        with urlopen(f"{self.url}/api/v1/{question}", timeout=30) as response:
            return json.load(response)["data"]


@contextmanager
def scraping(url: str, directory: Path, token: str = "") -> Iterator[Prometheus]:
    """Scrape the daemon at ``url`` until the end; ``directory`` is for Prometheus' files."""
    directory.mkdir()
    authorization = f'authorization: {{credentials: "{token}"}}' if token else ""
    config = CONFIG.format(target=urlsplit(url).netloc, authorization=authorization)
    (directory / "prometheus.yml").write_text(config)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        address = wait_until(
            lambda: re.search(r'msg="Listening on".* address=(\S+)', log.read_text()),
            "Prometheus listens",
            START_SECONDS,
        )
        prometheus = Prometheus(f"http://{address[1]}")
        wait_until(lambda: _is_ready(log), "Prometheus is ready", START_SECONDS)
        yield prometheus
    finally:
        process.kill()
        process.wait(30)


def _is_ready(log: Path) -> bool:
    return "Server is ready to receive web requests" in log.read_text()
