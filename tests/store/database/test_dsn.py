"""``storage.dsn`` against a real Postgres: each parameter, each host, TLS, errors."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from config import libpq
from store.cluster import bounded
from store.databases import database
from store.entrance import Certificates, entrance
from support import Daemon

from aegisd.config.libpq import conninfo
from aegisd.config.libpq import dsn as config_dsn
from aegisd.errors import DatabaseUnavailable
from aegisd.store.database import connecting
from aegisd.store.database.dsn import hosts

PLAIN = {
    "application_name": "a b'c",
    "channel_binding": "prefer",
    "client_encoding": "UTF8",
    "connect_timeout": "9",
    "fallback_application_name": "f",
    "gssdelegation": "0",
    "gssencmode": "prefer",
    "gsslib": "gssapi",
    "keepalives": "0",
    "keepalives_count": "3",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "krbsrvname": "k",
    "load_balance_hosts": "disable",
    "max_protocol_version": "latest",
    "min_protocol_version": "3.0",
    "options": "-c search_path=x -c geqo=off",
    "replication": "false",
    "sslcertmode": "allow",
    "sslcompression": "0",
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslsni": "1",
    "target_session_attrs": "primary",
    "tcp_user_timeout": "9000",
}
ELSEWHERE = {
    *("dbname", "host", "hostaddr", "passfile", "password", "port", "user"),
    *("sslcert", "sslcrl", "sslkey", "sslpassword", "sslrootcert"),
    *("ssl_max_protocol_version", "ssl_min_protocol_version"),
}
"""The parameters with a test of their own below."""

REFUSED = {
    *("require_auth", "requirepeer", "sslcrldir", "sslkeylogfile"),
    *("scram_client_key", "scram_server_key"),
    *("oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope"),
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def dead() -> Iterator[int]:
    """A port that refuses every connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never sends a byte."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


def through(dsn: str, port: int | str, **parameters: str) -> str:
    """The DSN through a TCP port, with more parameters, completed as a configuration's is."""
    place = {"host": "127.0.0.1", "port": str(port)}
    whole = dict(conninfo.parse(dsn)) | place | parameters
    return config_dsn.complete_dsn(conninfo.render({n: v for n, v in whole.items() if v}), {})


async def answer(dsn: str, sql: str = "SELECT 'here'") -> Any:
    async with database(dsn) as postgres:
        ((value,),) = await postgres.fetch(sql)
        return value


async def failure(dsn: str) -> str:
    """The error of a read that can't connect."""
    async with database(dsn) as postgres:
        with pytest.raises(DatabaseUnavailable) as caught:
            await postgres.fetch("SELECT 1")
        return str(caught.value)


@asynccontextmanager
async def connected_socket(dsn: str) -> AsyncIterator[Any]:
    """The socket of an idle connection."""
    async with database(dsn) as postgres:
        await postgres.fetch("SELECT 1")
        (connection,) = postgres._pool.idle
        yield connection._transport.get_extra_info("socket")


def test_each_parameter_of_libpq_has_a_test_or_is_refused() -> None:
    assert {*PLAIN, *ELSEWHERE, *REFUSED, "service"} == set(libpq.variables())
    assert {name for name in PLAIN if name in ELSEWHERE | REFUSED} == set()


@pytest.mark.parametrize("name", PLAIN)
@bounded
async def test_accepted_parameter_connects_over_tcp_and_unix_socket(dsn: str, name: str) -> None:
    async with entrance(dsn) as port:
        assert await answer(through(dsn, port, **{name: PLAIN[name]})) == "here"
    unix = conninfo.render(dict(conninfo.parse(dsn)) | {name: PLAIN[name]})
    assert await answer(config_dsn.complete_dsn(unix, {})) == "here"


@bounded
async def test_password_comes_from_passfile(dsn: str, tmp_path: Path) -> None:
    parameters = dict(conninfo.parse(dsn))
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:*:{parameters['user']}:{parameters['password']}\n")
    passfile.chmod(0o600)
    async with entrance(dsn) as port:
        given = {"password": "", "passfile": str(passfile), "host": "", "hostaddr": "127.0.0.1"}
        assert await answer(through(dsn, port, **given)) == "here"


@bounded
async def test_options_set_the_session(dsn: str) -> None:
    async with entrance(dsn) as port:
        through_it = through(dsn, port, options="-c geqo=off --search_path=a,\\ b")
        assert await answer(through_it, "SHOW geqo") == "off"
        assert await answer(through_it, "SHOW search_path") == "a, b"


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "aegisd"),
        ({"fallback_application_name": "f"}, "f"),
        ({"application_name": "a", "fallback_application_name": "f"}, "a"),
    ],
)
@bounded
async def test_application_name_comes_from_the_dsn_or_is_aegisd(
    dsn: str, parameters: dict[str, str], name: str
) -> None:
    async with entrance(dsn) as port:
        assert await answer(through(dsn, port, **parameters), "SHOW application_name") == name


@bounded
async def test_first_host_that_takes_a_connection_is_used(dsn: str, dead: int) -> None:
    folder = dict(conninfo.parse(dsn))["host"]
    async with entrance(dsn) as port:
        ports = f"{dead},1,{port}"
        assert await answer(through(dsn, ports, host="127.0.0.1,/nowhere,127.0.0.1")) == "here"
        assert await answer(through(dsn, "5432", host=f"/nowhere,{folder}")) == "here"
        before = dsn.partition("@")[0] + f"@127.0.0.1:{dead},[::1]:{dead},127.0.0.1:{port}"
        uri = before + "/" + dict(conninfo.parse(dsn))["dbname"]
        assert await answer(config_dsn.complete_dsn(uri, {})) == "here"


@bounded
async def test_silent_host_is_passed_over_after_its_connect_timeout(dsn: str, silent: int) -> None:
    async with entrance(dsn) as port:
        given = {"host": "127.0.0.1,127.0.0.1", "connect_timeout": "1"}
        assert await answer(through(dsn, f"{silent},{port}", **given)) == "here"
    assert await failure(through(dsn, silent, connect_timeout="1")) == "no answer within 1 s"


@bounded
async def test_hosts_without_connect_timeout_share_the_time(
    dsn: str, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 2)
    async with entrance(dsn) as port:
        ports = f"{silent},{port}"
        assert await answer(through(dsn, ports, host="127.0.0.1,127.0.0.1")) == "here"


@bounded
async def test_server_without_the_target_session_attrs_is_passed_over(
    dsn: str,
) -> None:
    async with entrance(dsn) as port:
        given = {"target_session_attrs": "read-write", "options": "-c geqo=off"}
        assert await answer(through(dsn, port, **given)) == "here"
        given["options"] = "-c default_transaction_read_only=on"
        told = await failure(through(dsn, port, **given))
        assert told.startswith("None of the hosts match the target attribute")


@bounded
async def test_keepalives_are_set_on_the_socket(dsn: str) -> None:
    given = {
        "keepalives_idle": "31",
        "keepalives_interval": "7",
        "keepalives_count": "4",
        "tcp_user_timeout": "9000",
    }
    options = (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )
    async with (
        entrance(dsn) as port,
        connected_socket(through(dsn, port, **given)) as connected,
    ):
        assert [connected.getsockopt(*option) for option in options] == [1, 31, 7, 4, 9000]


@pytest.mark.parametrize(("parameters", "alive"), [({}, 1), ({"keepalives": "0"}, 0)])
@bounded
async def test_keepalives_are_on_unless_they_are_turned_off(
    dsn: str, parameters: dict[str, str], alive: int
) -> None:
    async with (
        entrance(dsn) as port,
        connected_socket(through(dsn, port, **parameters)) as connected,
    ):
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == alive


@pytest.mark.parametrize("more", [{}, {"sslnegotiation": "direct"}])
@bounded
async def test_tls_uses_the_dsns_certificates_keys_and_versions(
    dsn: str, certificates: Certificates, more: dict[str, str]
) -> None:
    given = {
        "sslmode": "verify-full",
        "sslrootcert": str(certificates.authority),
        "sslcrl": str(certificates.revoked),
        "sslcert": str(certificates.folder / "client.crt"),
        "sslkey": str(certificates.folder / "client.key"),
        "sslpassword": "opensesame",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "TLSv1.2",
        **more,
    }
    async with entrance(dsn, certificates.context()) as port:
        through_it = through(dsn, port, **given)
        async with connected_socket(through_it):
            pass
        async with database(through_it) as postgres:
            await postgres.fetch("SELECT 1")
            encrypted = postgres._pool.idle[0]._transport.get_extra_info("ssl_object")
            assert encrypted.version() == "TLSv1.2"
        for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
            assert await failure(through(dsn, port, **{**given, name: "/nowhere"})) == (
                f"storage.dsn: {name}: can't read /nowhere: No such file or directory"
            )


@bounded
async def test_complete_dsn_connects_whatever_pg_variables_say(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in filter(None, libpq.variables().values()):
            patch.setenv(name, "nonsense")
        assert await answer(dsn) == "here"


@bounded
async def test_impossible_host_name_is_an_error_without_the_password() -> None:
    dsn = config_dsn.complete_dsn(f"postgresql://u:SECRET@{'x' * 64}/d", {})
    told = await failure(dsn)
    assert told.startswith("storage.dsn: ")
    assert "SECRET" not in told


@bounded
async def test_error_names_the_missing_socket(dead: int) -> None:
    assert await failure("host=/nowhere") == "/nowhere/.s.PGSQL.5432: No such file or directory"
    assert "Connect call failed" in await failure(f"host=127.0.0.1 port={dead}")


@bounded
async def test_account_without_a_name_needs_a_user_in_the_dsn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert await failure("postgresql://h/d") == (
        "storage.dsn: names no user, and the account 54321 has no name; name one in it"
    )


def test_empty_dsn_gets_libpqs_defaults() -> None:
    (host,) = hosts("postgresql://", 10)
    assert host.arguments["host"] is None
    assert host.arguments["port"] == 5432
    assert host.arguments["timeout"] == host.seconds == 10
    assert "sslmode=prefer" in host.arguments["dsn"]


@pytest.mark.parametrize("command", ["check-config", "run", "migrate"])
def test_refused_parameter_is_a_configuration_error(
    make_daemon: Callable[..., Daemon], command: str
) -> None:
    daemon = make_daemon('storage.dsn = "postgresql://u:SECRET@h/d?require_auth=md5&a=b"')
    done = daemon.run(command)
    assert done.returncode == 2
    assert done.stderr.startswith("storage.dsn: require_auth can't be had: the driver answers")
    assert done.stderr.count("\n") == 1
    assert "SECRET" not in done.stderr + done.stdout
