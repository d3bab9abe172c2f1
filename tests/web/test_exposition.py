"""The answer to Prometheus, read by its own parser."""

from prometheus_client.parser import text_string_to_metric_families

REQUEST = {"method": "GET", "path": "/", "status_code": 200, "duration_ms": 250}


async def test_prometheus_parser_reads_the_figures(serving):
    async with serving() as web:
        web.process(REQUEST, REQUEST, REQUEST | {"status_code": 503}, {"method": "GET"})
        web.process({"kind": "backend", "backend_name": "a", "status": "healthy"})
        response = await web.get("/metrics")
        address = web.daemon.listeners[0].address
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    for name, value in {
        ("aegisd_events_total", "request"): 3,
        ("aegisd_events_total", "backend"): 1,
        ("aegisd_rejected_events_total", "missing_field"): 1,
        ("aegisd_requests_total", "2xx"): 2,
        ("aegisd_requests_total", "5xx"): 1,
        ("aegisd_request_duration_seconds_count",): 3,
        ("aegisd_request_duration_seconds_sum",): 0.75,
        ("aegisd_backends", "healthy"): 1,
        ("aegisd_messages_total", address): 0,
        ("aegisd_database_connected",): 0,
        ("aegisd_websocket_clients",): 0,
        ("aegisd_alerts_active",): 0,
    }.items():
        assert samples[name] == value, name
    assert samples["process_resident_memory_bytes",] > 0


async def test_every_family_has_help_text_and_type(serving):
    async with serving() as web:
        text = (await web.get("/metrics")).text
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("counter", "gauge", "summary")
        assert family.name.startswith(("aegisd_", "process_"))
