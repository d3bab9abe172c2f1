"""The API's description: whole, and true of the daemon that serves it."""

import subprocess
import sys
import textwrap

import trio
from web.conftest import CONFIG

from aegisd.web.openapi.operations import OPERATIONS

EVENTS = [
    *({"method": "GET", "path": f"/a/{n % 7}", "status_code": 200 + n} for n in range(300)),
    {"method": "GET", "path": "/slow", "status_code": 200, "duration_ms": 12.5, "backend": "b"},
    {"kind": "backend", "backend_name": "b", "status": "healthy", "response_time_ms": 1.5},
    {"kind": "rate_limit", "key": "k", "allowed": False},
    {"kind": "system", "active_connections": 7},
    {"kind": "nonsense"},
]
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "negative_data_rejection"),
    *("unsupported_method", "allow_header_conformance"),
)


async def test_every_route_is_described_and_nothing_else(serving):
    async with serving() as web:
        api = web.daemon.server._api
        routes = api._exact | {p.before + "{name}" + p.after: p.methods for p in api._patterns}
        described = (await web.get("/openapi.json")).json()["paths"]
    found = {path: sorted(methods) for path, methods in routes.items()}
    named = {path.replace("{id}", "{name}") for path in described}
    assert named == found.keys()
    for path, operations in described.items():
        assert sorted(m.upper() for m in operations) == found[path.replace("{id}", "{name}")]
    assert described.keys() == OPERATIONS.keys()


async def test_description_may_be_kept_by_clients(serving):
    async with serving() as web:
        response = await web.get("/openapi.json")
        tag = response.headers["etag"]
        again = await web.get("/openapi.json", **{"If-None-Match": tag})
    document = response.json()
    assert document["openapi"] == "3.1.0"
    assert again.status_code == 304


async def test_schemathesis_finds_the_description_true(serving, dsn):
    """It asks each path, with right and wrong values, and compares the answers."""
    async with serving(CONFIG, dsn=dsn) as web:
        web.process(*EVENTS)
        await web.wait_for_rows(len(EVENTS) - 1)
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{web.url}/openapi.json"),
            *("--checks", ",".join(CHECKS), "--phases", "fuzzing", "--max-examples", "5"),
            "--generation-deterministic",
            *("--continue-on-failure", "--no-color"),
        ]
        result = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    assert result.returncode == 0, textwrap.indent(result.stdout.decode(), "  ")
