"""Real proxies with the configurations of docs/proxies.md, their ports and files put in."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define
from support import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
SEARCHED = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
NAME = "metrics.example.org"

NGINX_AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{config}
}}
"""
CADDY_AROUND = "{{\n    admin off\n    auto_https disable_redirects\n}}\n{config}"
HAPROXY_AROUND = "{config}\nfrontend stats\n    bind 127.0.0.1:{stats}\n    stats enable\n"


def blocks(section: str) -> list[str]:
    """The examples below a heading of the page."""
    text = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"```[a-z]+\n(.*?)```", text, re.DOTALL)


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@define
class Program:
    """A proxy: how its page's examples are put together, and how it is run."""

    name: str
    around: str
    below: Callable[[list[str]], str]  # the examples as the configuration for a path
    arguments: tuple[str, ...]

    @property
    def path(self) -> str | None:
        return shutil.which(self.name.lower(), path=SEARCHED)

    def example(self, path: str) -> str:
        """The page's configuration for ``/`` or ``/aegisd/``."""
        found = blocks(self.name)
        return found[0] if path == "/" else self.below(found)

    @contextmanager
    def running(self, folder: Path, example: str, daemon: str, stats: int = 0) -> Iterator[int]:
        """Run it in front of the daemon at HOST:PORT; give its own port."""
        port = free_port()
        example = _put_in(example, "127.0.0.1:7460", daemon)
        example = re.sub(r"/etc/ssl/metrics[a-z-]*\.(pem|key)", rf"{folder}/metrics.\1", example)
        if self.name == "Caddy":
            example = _put_in(example, f"{NAME} {{", f"https://{NAME}:{port} {{")
        else:
            example = re.sub(r"(listen |bind ?:?)(:?)443", rf"\g<1>\g<2>{port}", example)
        config = folder / "config"
        config.write_text(
            self.around.format(folder=folder, config=example, stats=stats or free_port())
        )
        command = [self.path or "", *(word.format(config=config) for word in self.arguments)]
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": SEARCHED}
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=folder)
        try:
            wait_until(lambda: process.poll() is not None or _answers(port), f"{self.name} answers")
            assert process.poll() is None, log.read_text()
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _put_in(text: str, old: str, new: str) -> str:
    assert old in text, f"the page has no {old}"
    return text.replace(old, new)


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def make_certificate(folder: Path) -> Path:
    """A certificate of the name, with its key in the same file and beside it."""
    key, certificate = folder / "metrics.key", folder / "metrics.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    with certificate.open("a") as file:
        file.write(key.read_text())
    return certificate


def _nginx_below(found: list[str]) -> str:
    return re.sub(r"    location / \{.*?\n    \}\n", lambda _: found[1], found[0], flags=re.DOTALL)


def _caddy_below(found: list[str]) -> str:
    return re.sub(r"    reverse_proxy .*?\n    \}\n", lambda _: found[1], found[0], flags=re.DOTALL)


def _haproxy_below(found: list[str]) -> str:
    whole, in_frontend, in_backend = found
    whole = _put_in(whole, "    default_backend aegisd\n", in_frontend)
    return _put_in(whole, "    option httpchk\n", f"    option httpchk\n{in_backend}")


PROGRAMS = (
    Program("nginx", NGINX_AROUND, _nginx_below, ("-c", "{config}")),
    Program(
        "Caddy",
        CADDY_AROUND,
        _caddy_below,
        ("run", "--adapter", "caddyfile", "--config", "{config}"),
    ),
    Program("HAProxy", HAPROXY_AROUND, _haproxy_below, ("-db", "-f", "{config}")),
)
