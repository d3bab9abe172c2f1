"""The answer to Prometheus, read by its own parsers."""

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from aegisd.web.request_families import BOUNDS

REQUEST = {"method": "GET", "path": "/", "status_code": 200, "duration_ms": 250}
BIN_WIDTH = 1.0203  # of the sketch, as a ratio
STATUSES = ("2xx", "3xx", "4xx", "5xx", "other")
HOSTILE = ['a"b', "a\\b", "a\\nb", "a\nb", '{le="1"} 5\n# TYPE x gauge', "\u202eevil", "(other)"]
CONFIG = """
[http]
metrics_endpoints = 3
"""


def samples_of(text, families=text_string_to_metric_families):
    """Values by name and labels' values; each series is there once."""
    found = [
        ((sample.name, *sample.labels.values()), sample.value)
        for family in families(text)
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


async def scrape(web):
    response = await web.get("/metrics")
    assert response.status_code == 200
    return samples_of(response.text)


async def test_prometheus_parser_reads_the_figures(serving):
    async with serving() as web:
        web.process(REQUEST, REQUEST, REQUEST | {"status_code": 503}, {"method": "GET"})
        web.process({"kind": "backend", "backend_name": "a", "status": "healthy"})
        response = await web.get("/metrics")
        address = web.daemon.listeners[0].address
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = samples_of(response.text)
    for name, value in {
        ("aegisd_events_total", "request"): 3,
        ("aegisd_events_total", "backend"): 1,
        ("aegisd_rejected_events_total", "missing_field"): 1,
        ("aegisd_requests_total", "2xx"): 2,
        ("aegisd_requests_total", "5xx"): 1,
        ("aegisd_request_duration_seconds_count",): 3,
        ("aegisd_request_duration_seconds_sum",): 0.75,
        ("aegisd_backends", "healthy"): 1,
        ("aegisd_observed_backends",): 0,
        ("aegisd_messages_total", address): 0,
        ("aegisd_database_connected",): 0,
        ("aegisd_websocket_clients",): 0,
        ("aegisd_alerts_active",): 0,
    }.items():
        assert samples[name] == value, name
    assert samples["process_resident_memory_bytes",] > 0


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
async def test_every_family_has_help_text_and_type(serving, accept):
    async with serving() as web:
        text = (await web.get("/metrics", accept=accept)).text
    read = openmetrics_families if accept else text_string_to_metric_families
    for family in read(text):
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        assert family.name.startswith(("aegisd_", "process_"))


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "text/plain, application/openmetrics-text; version=x; escaping=y",
        "application/openmetrics-text; version=9.9.9",
    ],
)
async def test_client_that_names_openmetrics_gets_it(serving, accept):
    async with serving() as web:
        web.process(REQUEST)
        response = await web.get("/metrics", accept=accept)
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert (response.headers["content-type"], response.headers["vary"]) == (
        kind,
        "Accept, Accept-Encoding",
    )
    assert response.text.endswith("# EOF\n")
    samples = samples_of(response.text, openmetrics_families)
    assert samples["aegisd_requests_total", "2xx"] == 1
    assert samples["aegisd_request_duration_seconds_bucket", "+Inf"] == 1


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/plain;version=x", ";,;"])
async def test_other_clients_get_the_text_format(serving, accept):
    async with serving() as web:
        response = await web.get("/metrics", accept=accept)
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_bucket_has_all_durations_up_to_its_bound_and_none_beyond_a_bin_s_width(serving):
    random = np.random.default_rng(1)
    seconds = [*BOUNDS, *(10 ** random.uniform(-6, 3, 500)), 0, 2_000_000]
    micros = [round(each * 1e6) for each in seconds]
    async with serving() as web:
        web.process(*(REQUEST | {"duration_ms": each / 1000} for each in micros))
        web.process(REQUEST | {"duration_ms": None})
        samples = await scrape(web)
    name = "aegisd_request_duration_seconds"
    counts = [samples[f"{name}_bucket", str(bound)] for bound in BOUNDS]
    for bound, count in zip(BOUNDS, counts, strict=True):
        low, high = (sum(each <= bound * 1e6 * up for each in micros) for up in (1, BIN_WIDTH))
        assert low <= count <= high
    assert sorted(counts) == counts
    assert samples[f"{name}_bucket", "+Inf"] == samples[f"{name}_count",] == len(micros)
    assert samples[f"{name}_sum",] == pytest.approx(sum(micros) / 1e6)


async def test_requests_are_counted_by_method_and_unknown_methods_together(serving):
    async with serving() as web:
        for method in ("GET", "PATCH", "PATCH", "get", "BREW", '"\n'):
            web.process(REQUEST | {"method": method, "status_code": 404})
        samples = await scrape(web)
    name = "aegisd_requests_by_method_total"
    assert {method: samples[name, method, "4xx"] for method in ("GET", "PATCH", "(other)")} == {
        "GET": 1,
        "PATCH": 2,
        "(other)": 3,
    }
    by_method = {key: value for key, value in samples.items() if key[0] == name}
    assert (sum(by_method.values()), len(by_method)) == (6, 10 * len(STATUSES))


async def test_each_backend_has_its_requests_of_all_classes(serving):
    async with serving() as web:
        for status in (200, 204, 301, 404, 502, 0):
            web.process(REQUEST | {"backend": "a", "status_code": status})
        web.process(REQUEST | {"backend": "b"}, REQUEST)
        samples = await scrape(web)
    name = "aegisd_backend_requests_total"
    assert [samples[name, "a", status] for status in STATUSES] == [2, 1, 1, 1, 1]
    assert [samples[name, "b", status] for status in STATUSES] == [1, 0, 0, 0, 0]
    assert sum(key[0] == name for key in samples) == 2 * len(STATUSES)
    assert samples["aegisd_observed_backends",] == 2


async def test_hundred_backends_with_most_requests_are_counted_one_by_one(serving):
    async with serving() as web:
        for count in range(3):
            web.process(*(REQUEST | {"backend": f"b{n}"} for n in range(120 - 20 * count)))
        samples = await scrape(web)
    shown = {key[1] for key in samples if key[0] == "aegisd_backend_requests_total"}
    assert shown == {f"b{n}" for n in range(100)}
    assert samples["aegisd_observed_backends",] == 120


async def test_endpoints_are_counted_only_where_the_configuration_asks_for_them(serving):
    sent = [REQUEST | {"path": path} for path in ("/a", "/a", "/a", "/b", "/b", "/c", "/c", "/d")]
    async with serving() as web:
        web.process(*sent)
        samples = await scrape(web)
    assert "aegisd_endpoint_requests_total" not in {key[0] for key in samples}
    async with serving(CONFIG) as web:
        web.process(*sent, REQUEST | {"path": "/a", "status_code": 500})
        samples = await scrape(web)
    counted = {key[2:]: n for key, n in samples.items() if key[0].startswith("aegisd_endpoint_req")}
    assert {(path, s): n for (path, s), n in counted.items() if n} == {
        ("/a", "2xx"): 3,
        ("/a", "5xx"): 1,
        ("/b", "2xx"): 2,
        ("/c", "2xx"): 2,
    }
    assert len(counted) == 3 * len(STATUSES)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
async def test_hostile_names_are_escaped(serving, accept):
    async with serving(CONFIG.replace("3", "100")) as web:
        names = [name for name in HOSTILE if name != "(other)"]
        for name in HOSTILE:
            web.process(REQUEST | {"backend": name, "path": f"/{name}"})
            web.process(REQUEST | {"method": "(other)", "path": "(other)", "route": "(other)"})
        text = (await web.get("/metrics", accept=accept)).text
    samples = samples_of(text, openmetrics_families if accept else text_string_to_metric_families)
    backends = {key[1] for key in samples if key[0] == "aegisd_backend_requests_total"}
    assert backends == set(names)
    paths = {key[2] for key in samples if key[0] == "aegisd_endpoint_requests_total"}
    assert len(paths) == len(HOSTILE)
    assert samples["aegisd_requests_total", "2xx"] == 2 * len(HOSTILE)
