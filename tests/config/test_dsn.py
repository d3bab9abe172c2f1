"""storage.dsn: each parameter of libpq is taken or refused, and each refusal says what to do."""

from pathlib import Path

import pytest
from config import libpq

from aegisd.config.libpq.conninfo import parse
from aegisd.config.libpq.dsn import complete_dsn
from aegisd.config.libpq.parameters import PARAMETERS

TAKEN = {
    "application_name": "a b",
    "channel_binding": "prefer",
    "client_encoding": "utf-8",
    "connect_timeout": "5",
    "dbname": "d",
    "fallback_application_name": "f",
    "gssdelegation": "0",
    "gssencmode": "disable",
    "gsslib": "gssapi",
    "host": "h",
    "hostaddr": "::1",
    "keepalives": "1",
    "keepalives_count": "3",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "krbsrvname": "k",
    "load_balance_hosts": "disable",
    "max_protocol_version": "latest",
    "min_protocol_version": "3.0",
    "options": "-c search_path=x",
    "passfile": "/p",
    "password": "p",
    "port": "5433",
    "replication": "false",
    "sslcert": "/c",
    "sslcertmode": "allow",
    "sslcompression": "0",
    "sslcrl": "/l",
    "sslkey": "/k",
    "ssl_max_protocol_version": "TLSv1.3",
    "sslmode": "verify-full",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslnegotiation": "postgres",
    "sslpassword": "s",
    "sslrootcert": "/r",
    "sslsni": "1",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "9000",
    "user": "u",
}
REFUSED = {
    "channel_binding": "require",
    "client_encoding": "LATIN1",
    "connect_timeout": "5s",
    "gssdelegation": "1",
    "gssencmode": "require",
    "gsslib": "sspi",
    "hostaddr": "example.com",
    "keepalives": "on",
    "keepalives_count": "128",
    "keepalives_idle": "32768",
    "keepalives_interval": "-1",
    "load_balance_hosts": "random",
    "max_protocol_version": "2.0",
    "min_protocol_version": "3.2",
    "oauth_client_id": "SECRET",
    "oauth_client_secret": "SECRET",
    "oauth_issuer": "SECRET",
    "oauth_scope": "SECRET",
    "port": "65536",
    "replication": "database",
    "require_auth": "scram-sha-256",
    "requirepeer": "postgres",
    "scram_client_key": "SECRET",
    "scram_server_key": "SECRET",
    "sslcertmode": "require",
    "sslcompression": "1",
    "sslcrldir": "/d",
    "sslkeylogfile": "/k",
    "ssl_max_protocol_version": "TLSv2",
    "sslmode": "yes",
    "ssl_min_protocol_version": "SSLv3",
    "sslnegotiation": "tls",
    "sslrootcert": "system",
    "sslsni": "0",
    "target_session_attrs": "standby",
    "tcp_user_timeout": "2147483648",
}
NAMES = sorted(libpq.variables())


def refusal(text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        complete_dsn(text, environment or {})
    shown = str(caught.value)
    assert "SECRET" not in shown
    return shown


def test_table_has_every_parameter_and_variable_of_libpq() -> None:
    ours = {name: parameter.variable for name, parameter in PARAMETERS.items()}
    assert ours == {n: v for n, v in libpq.variables().items() if n != "service"}
    assert set(NAMES) >= libpq.NEW_IN_18


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_is_accepted_or_refused_by_its_value(name: str) -> None:
    assert {name} & {*TAKEN, *REFUSED, "service"}
    if name in TAKEN:
        assert complete_dsn(f"{name}='{TAKEN[name]}'", {}) == f"{name}='{TAKEN[name]}'"
    if name in REFUSED:
        shown = refusal(f"{name}='{REFUSED[name]}'")
        assert shown.startswith(name)
        assert len(shown) > len(name) + 15


@pytest.mark.parametrize("name", [name for name in NAMES if name != "service"])
def test_empty_value_means_the_default(name: str) -> None:
    assert complete_dsn(f"host=h {name}=", {}) == f"host=h {name}="


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "postgresql://h/d?channel_binding=require",
            "channel_binding='require' is none of disable prefer: the driver binds no channel;"
            " be sure of the server by sslmode=verify-full",
        ),
        (
            "postgresql://h/d?search_path=x",
            "libpq has no parameter 'search_path'; a setting of the server is given as options,"
            " -c NAME=VALUE (percent-encoded in an address)",
        ),
        (
            "host=h connect_timout=5",
            "libpq has no parameter 'connect_timout', the nearest is connect_timeout; a setting",
        ),
        (
            "postgresql://h/d?sslmode=on&require_auth=md5",
            "sslmode='on' is none of disable allow prefer require verify-ca verify-full;"
            " require_auth can't be had: the driver answers whichever method",
        ),
        ("postgresql://h:1,h:2/?port=3,4,5", "port: 3 of them, but hosts: 2; give one for each"),
        ("port=1,2", "port: 2 of them, but hosts: 1; give one for each, or one"),
        ("host=a hostaddr=::1", "hostaddr: not beside host; keep host, with its address in"),
        ("sslnegotiation=direct", "sslnegotiation='direct' needs an sslmode of require verify-ca"),
        ("connect_timeout=1.5", "connect_timeout='1.5' is no number of seconds"),
        ("keepalives_idle=99999", "keepalives_idle='99999' is not a whole number from 0 to 32767"),
        ("sslrootcert=system", "sslrootcert='system' can't be had: name the system's file, with"),
        ("hostaddr=h", "hostaddr='h' is no IP address; a name goes into host"),
        ("h", "is neither 'embedded' nor a postgresql:// address nor key=value pairs"),
    ],
)
def test_refusal_names_parameter_reason_and_remedy(text: str, line: str) -> None:
    assert refusal(text).startswith(line)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:SECRET/b@h/db",
        "postgresql://u:1/SECRET?SECRET=a@h/db",
        "postgresql://u:1/b?SECRET=SECRET@h/db",
        "postgresql://u:pw@SECRET@h/db",
        "postgresql://u@h/db?password=a&SECRET=b",
        "password=a SECRET=b host=h",
        "password=a sslmode=SECRET host=h",
        "postgresql://u@h:SECRET/db",
        "port=SECRET",
        "mysql://u:SECRET@h/d?a=SECRET",
    ],
)
def test_refusal_shows_no_part_of_a_password(text: str) -> None:
    assert refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://",
        "postgresql://u@[::1]:5433,h,h:1/d",
        "postgresql://%2Frun%2Fpostgresql/d",
        "host=/run/postgresql,h port=1,",
        "host=,h",
        "host=/run/a@b",
        "host=a,b port=7",
        "hostaddr=10.0.0.1,::1",
        "sslnegotiation=direct sslmode=require",
        "postgresql://h?ssl=true",
        "connect_timeout=-1",
    ],
)
def test_hosts_and_values_that_libpq_takes_are_accepted(text: str) -> None:
    assert complete_dsn(text, {}) == text


def test_variables_add_parameters_that_the_dsn_lacks() -> None:
    environment = {"PGHOST": "a", "PGPORT": "", "PGUSER": "u", "PGCONNECT_TIMEOUT": "5"}
    filled = complete_dsn("postgresql://h/d?user=", environment)
    assert dict(parse(filled)) == {"host": "h", "dbname": "d", "user": "", "connect_timeout": "5"}


def test_refusal_of_a_variable_names_the_variable() -> None:
    assert refusal("host=h", {"PGREQUIREAUTH": "scram-sha-256"}).startswith(
        "PGREQUIREAUTH: require_auth can't be had: "
    )
    assert refusal("host=h", {"PGPORT": "SECRET"}).startswith("PGPORT: port: not a number")


SERVICES = """
# ours
[other]
host=nowhere
[metrics]
host=db port
dbname = d=e

connect_timeout=7
[last]
host=nowhere
"""


@pytest.fixture
def services(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".pg_service.conf").write_text(SERVICES)
    return {"HOME": str(tmp_path)}


def test_service_wins_over_variables(services: dict[str, str]) -> None:
    environment = {**services, "PGHOST": "a", "PGUSER": "u"}
    expected = {"connect_timeout": "3", "host": "db port", "dbname": "d=e", "user": "u"}
    text = "service=metrics connect_timeout=3"
    assert dict(parse(complete_dsn(text, environment))) == expected
    del expected["connect_timeout"]
    filled = dict(parse(complete_dsn("postgresql://", {**environment, "PGSERVICE": "metrics"})))
    assert filled == {**expected, "connect_timeout": "7"}


def test_system_service_file_is_read_after_the_users(
    services: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "pg_service.conf").write_text("[central]\nhost=c\n")
    environment = {**services, "PGSYSCONFDIR": str(tmp_path)}
    assert complete_dsn("service=central", environment) == "host=c"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[s]\nSECRET\n", "service: {file}, line 2, is no key=value"),
        ("[s]\nservice=t\n", "service: {file}, line 2, names another service"),
        ("[s]\nhost=h\ncolour=SECRET\n", "{file}: libpq has no parameter 'colour'"),
        ("[s]\ngssencmode=require\n", "{file}: gssencmode='require' is none of"),
        ("[t]\nhost=h\n", "service='s' is in no file ({file}); PGSERVICEFILE names"),
        (None, "service='s' is in no file ({file}); PGSERVICEFILE names"),
        (b"\xff", "service: can't read {file}: not UTF-8 text"),
    ],
)
def test_unusable_service_is_refused(
    tmp_path: Path, content: str | bytes | None, line: str
) -> None:
    file = tmp_path / "services"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = refusal("service=s", {"PGSERVICEFILE": str(file)})
    assert found.startswith(line.format(file=file))


def test_service_without_any_file_is_refused() -> None:
    assert refusal("service=s").startswith("service='s' is in no file (none is known); ")
