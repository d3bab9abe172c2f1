"""JSON as the daemon's API sends it to ``aegisd top``."""

import json
from typing import Any

from aegisd.cli.top import api

NOW = "2026-11-23T08:14:00.000Z"
BUCKETS = 90


def overview(**changes: Any) -> dict[str, Any]:
    return {
        "timestamp": NOW,
        "requestsPerSecond": 1234.56,
        "avgLatency": 12.345,
        "p50Latency": 9.876,
        "p95Latency": 45.61,
        "p99Latency": 1012.3,
        "errorRate": 1.5,
        "totalRequests": 1_234_567,
        "successfulRequests": 1_200_000,
        "failedRequests": 34_567,
        "rateLimitedRequests": 120,
        "rateLimitDenied": 5,
        "activeConnections": 34,
        "healthyBackends": 1,
        "totalBackends": 2,
    } | changes


def at(bucket: int) -> str:
    return f"2026-11-23T{7 + bucket // 360:02}:{bucket % 360 // 6:02}:{bucket % 6}0.000Z"


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "method": "GET",
        "path": "/orders/{id}",
        "requestCount": 4321,
        "errorRate": 2.5,
        "avgLatency": 3.5,
        "p95Latency": None,
    } | changes


def backend(name: str, status: str = "healthy", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "status": status,
        "responseTimeMs": 12.5,
        "circuitBreaker": None,
        "lastSeen": "2026-11-23T08:13:48.500Z",
    } | changes


def message(**topics: Any) -> dict[str, Any]:
    data = {
        "overview": overview(),
        "requestRate": [
            {"timestamp": at(b), "value": float(b), "requestCount": 10 * b} for b in range(BUCKETS)
        ],
        "latencyPercentiles": [
            {"timestamp": at(b), "p50": 1.0, "p95": 20.0, "p99": 3.0, "avg": 1.0}
            for b in range(BUCKETS)
        ],
        "statusDistribution": [
            {
                "timestamp": at(b),
                "status2xx": 100,
                "status3xx": 0,
                "status4xx": 0,
                "status5xx": b % 2,
                "statusOther": 0,
            }
            for b in range(BUCKETS)
        ],
        "topEndpoints": [endpoint()],
        "backends": {
            "summary": {"total": 2, "healthy": 1, "unhealthy": 1},
            "backends": [backend("good"), backend("bad", "unhealthy", circuitBreaker="half_open")],
        },
    }
    return {"type": "metrics", "timestamp": NOW, "data": data | topics}


def alert(**changes: Any) -> api.Alert:
    told = {
        "id": "1",
        "ruleName": "High Error Rate",
        "severity": "critical",
        "status": "active",
        "message": "error_rate is 12 % over 5m (> 5 %)",
        "triggeredAt": "2026-11-23T08:10:00.000Z",
    } | changes
    return api.parse(json.dumps(told), api.Alert)
