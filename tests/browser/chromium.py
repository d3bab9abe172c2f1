"""A real Chromium, driven over its DevTools protocol."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio
import trio_websocket

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 60
WAIT_SECONDS = 30
OPTIONS = (
    "--headless",
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def program() -> str | None:
    """Chromium, where there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """One tab. ``errors`` collects what the page's console complained about."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self._connection = connection
        self._number = 0
        self.errors: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        await self._connection.send_message(json.dumps(command))
        while True:
            answer = json.loads(await self._connection.get_message())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(json.dumps(answer["params"]))

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true."""
        with trio.move_on_after(WAIT_SECONDS):
            while not (value := await self.value(expression)):
                await trio.lowlevel.checkpoint()
            return value
        raise AssertionError(
            f"never true: {expression}; {await self.value('document.body.innerText')}"
        )


@asynccontextmanager
async def open_page(url: str) -> AsyncIterator[Page]:
    """A tab that shows ``url``."""
    profile = Path(tempfile.mkdtemp(prefix="aegisd-chromium-"))
    command = [program() or "", *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    null = subprocess.DEVNULL
    process = await trio.lowlevel.open_process(command, stdout=null, stderr=null)
    try:
        port = await _port(trio.Path(profile) / "DevToolsActivePort")
        target = await _first_tab(port)
        async with trio_websocket.open_websocket_url(target) as connection:
            page = Page(connection)
            for domain in ("Page", "Runtime", "Log"):
                await page.call(f"{domain}.enable")
            await page.call("Page.navigate", url=url)
            yield page
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _port(file: trio.Path) -> int:
    with trio.fail_after(START_SECONDS):
        while not (await file.exists() and "\n" in await file.read_text()):
            await trio.lowlevel.checkpoint()
    return int((await file.read_text()).split()[0])


async def _first_tab(port: int) -> str:
    with trio.fail_after(START_SECONDS):
        async with httpx.AsyncClient() as client:
            while True:
                tabs = (await client.get(f"http://127.0.0.1:{port}/json")).json()
                for tab in tabs:
                    if tab["type"] == "page":
                        return str(tab["webSocketDebuggerUrl"])
                await trio.lowlevel.checkpoint()
