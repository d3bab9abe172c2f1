"""A wrong configuration gives all its problems at once, a line each."""

import pytest

DIGEST = "0" * 64
TOKEN = f'tokens = [{{ name = "a", sha256 = "{DIGEST}" }}]'
GOOD = 'condition = { metric = "error_rate", operator = ">", threshold = 5, window = "5m" }'


def rule(name: str, condition: str = GOOD, more: str = "") -> str:
    return f'[[alerts.rules]]\nid = "{name}"\nname = "{name}"\n{condition}\n{more}\n'


def test_problem_of_the_contract_example_has_its_words(problems) -> None:
    wrong = GOOD.replace('">"', '"=>"')
    assert problems(rule("a") + rule("b") + rule("c", wrong)) == [
        "alerts.rules[2].condition.operator: '=>' is not one of > < >= <= =="
    ]


def test_all_problems_are_given_at_once(problems) -> None:
    text = """
    nod = "a"
    [log]
    level = "loud"
    [ingest]
    udp = "nowhere"
    [metrics]
    batch_size = 0
    flush_intervall_ms = 5
    [http]
    listen = "0.0.0.0:80"
    tls_key = "k"
    """ + rule("a", GOOD.replace("5m", "2m"))
    assert problems(text, {"AEGISD_NODES": "a", "AEGISD_METRICS__ENABLED": "yes"}) == [
        "AEGISD_METRICS__ENABLED: is not a value as TOML writes it",
        "AEGISD_NODES: unknown key; the nearest known one is node",
        "alerts.rules[0].condition.window: '2m' is not one of 1m 5m 15m 1h",
        "ingest.udp: 'nowhere' is not HOST:PORT (an IPv6 host in brackets)",
        "log.level: 'loud' is not one of debug info warning error",
        "metrics.batch_size: 0 is not a whole number of at least 1",
        "metrics.flush_intervall_ms: unknown key; the nearest known one is flush_interval_ms",
        "nod: unknown key; the nearest known one is node",
        "http.listen: without http.tokens only loopback may be listened on, not '0.0.0.0'",
        "http.tls_key: http.tls_certificate and http.tls_key go together",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("metric = 1", "metric: unknown key; the nearest known one is metrics"),
        ('"a\\nb" = 1', "a\\nb: unknown key; the nearest known one is dashboard"),
        ("http = 5", "http: is not a table"),
        ("[http]\nallowed_hosts = 'a'", "http.allowed_hosts: is not a list"),
        ("[http]\nallowed_hosts = [5]", "http.allowed_hosts[0]: 5 is not text"),
        ("[http]\ncors_origins = ['*']", "http.cors_origins[0]: '*' is not a site such as https:"),
        ("[http]\ncors_origins = ['https://a/']", "http.cors_origins[0]: 'https://a/' is not a s"),
        (
            "[http]\ntrusted_proxies = ['10.0.0.1/8']",
            "http.trusted_proxies[0]: '10.0.0.1/8' is not an address or network: 10.0.0.1/8 has",
        ),
        (
            "[http]\ntrusted_proxies = ['::1', 'proxy.example']",
            "http.trusted_proxies[1]: 'proxy.example' is not an address or network: 'proxy.ex",
        ),
        ("[http]\ntrusted_proxies = [5]", "http.trusted_proxies[0]: 5 is not text"),
        ("[http]\ntrusted_proxies = ['fe80::%1/64']", "http.trusted_proxies[0]: 'fe80::%1/64' is"),
        ("[http]\ntrusted_proxys = []", "http.trusted_proxys: unknown key; the nearest known one"),
        ("[http]\nlisten = 'a:b'", "http.listen: port 'b' is not a number from 0 to 65535"),
        ("[http]\nlisten = '::1:80'", "http.listen: '::1:80' is not HOST:PORT (an IPv6 host in"),
        ("[metrics]\nenabled = 1", "metrics.enabled: 1 is not true or false"),
        ("[metrics]\nbatch_size = true", "metrics.batch_size: True is not a whole number of"),
        ("[metrics]\nbatch_size = 1.0", "metrics.batch_size: 1.0 is not a whole number of"),
        ("[metrics]\nretention_days = 36501", "metrics.retention_days: 36501 is not a whole"),
        ("[metrics.sampling]\nrate = 0", "metrics.sampling.rate: 0 is not from 0.000001 to 1"),
        ("[metrics.sampling]\nrate = 9e-7", "metrics.sampling.rate: 9e-07 is not from 0.000001"),
        ("[metrics.sampling]\nrate = 1.1", "metrics.sampling.rate: 1.1 is not from 0.000001 to 1"),
        ("[metrics.sampling]\nrate = nan", "metrics.sampling.rate: nan is not a number"),
        ("[ingest]\nsocket_mode = '999'", "ingest.socket_mode: '999' is not a file mode"),
        ("[ingest]\nreceive_buffer_bytes = 2147483648", "ingest.receive_buffer_bytes: 2147483648"),
        ('[ingest]\nunix_stream = "a\\u0000"', "ingest.unix_stream: holds a NUL character"),
        ("[paths]\nmax_endpoints = 100001", "paths.max_endpoints: 100001 is not a whole number"),
        ("[http]\nmetrics_endpoints = 101", "http.metrics_endpoints: 101 is not a whole number"),
        ("[http]\nmetrics_endpoints = -1", "http.metrics_endpoints: -1 is not a whole number"),
        ("[dashboard.websocket]\npath = 'ws'", "dashboard.websocket.path: 'ws' is not a path"),
        ("node = ''", "node: '' is not 1 to 255 printable characters"),
        ('node = "a\\tb"', "node: 'a\\tb' is not 1 to 255 printable characters"),
        ("[storage]\ndsn = 'mysql://a'", "storage.dsn: is neither 'embedded' nor a postgresql:"),
        (
            "[storage]\ndsn = 'postgresql://u:p@h/d?gssencmode=require&x=y'",
            "storage.dsn: gssencmode='require' is none of disable prefer: the driver can't encrypt"
            " with GSS; use sslmode; libpq has no parameter 'x'; a setting of the server is given",
        ),
        ("[storage]\ndsn = 'host=h krb=x'", "storage.dsn: libpq has no parameter 'krb'"),
        ("[http]\ntokens = [{ name = 'a' }]", "http.tokens[0].sha256: is missing"),
        (
            "[http]\ntokens = [{ name = 'a', sha256 = 'x' }]",
            "http.tokens[0].sha256: is not the 64 hex digits of a SHA-256",
        ),
        (f"[http]\n{TOKEN[:-3]}, role = 'root' }}]", "http.tokens[0].role: 'root' is not one of"),
        (rule("a", "condition = 5"), "alerts.rules[0].condition: is not a table"),
        (rule("a", ""), "alerts.rules[0].condition: is missing"),
        (rule("a") + rule("b") + rule("a"), "alerts.rules[2]: 'a' is there twice"),
        (
            rule("a", more="actions = [{ type = 'fax' }]"),
            "alerts.rules[0].actions[0].type: 'fax' is not one of log slack webhook email",
        ),
        (rule("a", more="actions = [{ type = [] }]"), "alerts.rules[0].actions[0].type: '[]' is"),
        (
            rule("a", more="actions = [{ type = 'log', confg = {} }]"),
            "alerts.rules[0].actions[0].confg: unknown key; the nearest known one is config",
        ),
        (
            rule("a", more="actions = [{ type = 'slack', config = { webhook_url = 'x' } }]"),
            "alerts.rules[0].actions[0].config.webhook_url: is not an http:// or https:// address",
        ),
        (
            rule("a", more="actions = [{ type = 'log', config = 5 }]"),
            "alerts.rules[0].actions[0].config: is not a table",
        ),
    ],
)
def test_problem_starts_with_the_path_of_its_key(problems, text: str, line: str) -> None:
    (found,) = problems(text)
    assert found.startswith(line)


def test_libpq_variable_is_checked_with_the_dsn(problems, read) -> None:
    environment = {"PGSSLMODE": "on"}
    assert problems("[storage]\ndsn = 'postgresql://'", environment) == [
        "storage.dsn: PGSSLMODE: sslmode='on' is none of disable allow prefer require verify-ca"
        " verify-full"
    ]
    assert read("", environment).storage.dsn == "embedded"


def test_problem_names_the_key_as_the_file_does(problems) -> None:
    config = "{ to = 'a', from = '', port = 70000 }"
    assert problems(rule("a", more=f"actions = [{{ type = 'email', config = {config} }}]")) == [
        "alerts.rules[0].actions[0].config.from: '' is not 1 to 255 printable characters",
        "alerts.rules[0].actions[0].config.host: is missing",
        "alerts.rules[0].actions[0].config.port: 70000 is not a whole number from 1 to 65535",
    ]


def test_trusted_proxies_are_networks_and_mapped_ones_are_ipv4(read) -> None:
    given = ["127.0.0.1", "10.0.0.0/8", "2001:DB8::/32", "::ffff:10.1.2.3", "::ffff:10.0.0.0/104"]
    assert read(f"[http]\ntrusted_proxies = {given}").http.trusted_proxies == (
        *("127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32", "10.1.2.3/32", "10.0.0.0/8"),
    )
