"""What the answers are: the data of each path."""

from typing import get_args

from aegisd.alerts import ACKNOWLEDGED, ACTIVE, RESOLVED
from aegisd.config.settings import Severity
from aegisd.web.openapi.forms import (
    AMOUNT,
    COUNT,
    FLAG,
    ID,
    NUMBER,
    PERCENT,
    TEXT,
    TIME,
    items,
    nullable,
    one_of,
    record,
    table,
)

MS = nullable(AMOUNT)
"""Milliseconds; null where no request had a duration."""

RANGE = record(
    **{"from": TIME, "to": TIME},
    bucketSeconds={"type": "integer", "minimum": 1},
    completeUntil=nullable(TIME),
)

OVERVIEW = record(
    timestamp=TIME,
    requestsPerSecond=AMOUNT,
    avgLatency=MS,
    p50Latency=MS,
    p95Latency=MS,
    p99Latency=MS,
    errorRate=PERCENT,
    totalRequests=COUNT,
    successfulRequests=COUNT,
    failedRequests=COUNT,
    rateLimitedRequests=COUNT,
    rateLimitDenied=COUNT,
    activeConnections=COUNT,
    healthyBackends=COUNT,
    totalBackends=COUNT,
)
REQUEST_RATE = items(record(timestamp=TIME, value=AMOUNT, requestCount=COUNT, failedCount=COUNT))
LATENCY = items(record(timestamp=TIME, p50=MS, p95=MS, p99=MS, avg=MS))
STATUSES = items(
    record(
        timestamp=TIME,
        status2xx=COUNT,
        status3xx=COUNT,
        status4xx=COUNT,
        status5xx=COUNT,
        statusOther=COUNT,
    )
)
HEAT_MAP = record(edges=items(AMOUNT), buckets=items(record(timestamp=TIME, counts=items(COUNT))))
NODES = items(record(node=TEXT, requestCount=COUNT))
ENDPOINTS = items(
    record(
        method=TEXT,
        path=TEXT,
        requestCount=COUNT,
        errorRate=PERCENT,
        avgLatency=MS,
        p95Latency=MS,
    )
)
RATE_LIMITS = record(
    checked=COUNT, denied=COUNT, topKeys=items(record(key=TEXT, checked=COUNT, denied=COUNT))
)
OBSERVED = items(
    record(
        name=TEXT,
        requestCount=COUNT,
        errorRate=PERCENT,
        avgLatency=MS,
        p95Latency=MS,
        lastSeen=TIME,
    )
)
BACKENDS = record(
    observed=OBSERVED,
    summary=record(total=COUNT, healthy=COUNT, unhealthy=COUNT),
    backends=items(
        record(
            name=TEXT,
            status=one_of("healthy", "unhealthy"),
            responseTimeMs=MS,
            circuitBreaker=nullable(one_of("closed", "open", "half_open")),
            lastSeen=TIME,
        )
    ),
)

SEVERITY = one_of(*get_args(Severity))
ALERT_STATUS = one_of(ACTIVE, ACKNOWLEDGED, RESOLVED)
ALERT = record(
    resolvedBy=nullable(TEXT),
    id=ID,
    ruleId=TEXT,
    ruleName=TEXT,
    severity=SEVERITY,
    status=ALERT_STATUS,
    message=TEXT,
    triggeredAt=TIME,
    resolvedAt=nullable(TIME),
    acknowledgedAt=nullable(TIME),
    acknowledgedBy=nullable(TEXT),
    currentValue=NUMBER,
    threshold=NUMBER,
)
SILENCE = record(
    **{"from": TIME},
    id=ID,
    ruleId=nullable(TEXT),
    severity=nullable(SEVERITY),
    until=TIME,
    comment=TEXT,
    by=TEXT,
)
NEW_SILENCE = record(
    {
        "ruleId": nullable(TEXT),
        "severity": nullable(SEVERITY),
        "from": nullable({"anyOf": [TIME, AMOUNT]}),
        "comment": nullable(TEXT),
    },
    until={"anyOf": [TIME, AMOUNT]},
)

SESSION = record(
    authentication=FLAG,
    name=nullable(TEXT),
    role=nullable(one_of("viewer", "admin")),
)

INGEST = record(
    listeners=items(
        record(address=TEXT, messages=COUNT, bytes=COUNT, kernelDropped=nullable(COUNT))
    ),
    events=table(COUNT),
    rejected=table(COUNT),
    altered=COUNT,
    disabled=COUNT,
    sampledOut=COUNT,
    dropped=record(queue=COUNT, journal=COUNT, database=COUNT),
    sources=items(record(source=TEXT, received=COUNT, lost=COUNT)),
    recentRejects=items(
        record(
            timestamp=TIME,
            listener=TEXT,
            reason=TEXT,
            field=nullable(TEXT),
            count=COUNT,
            preview=TEXT,
            pid=nullable(COUNT),
            uid=nullable(COUNT),
        )
    ),
)
STATUS = record(
    version=TEXT,
    node=TEXT,
    uptimeSeconds=AMOUNT,
    configurationLoadedAt=TIME,
    journal=record(events=COUNT, bytes=COUNT, oldest=nullable(TIME), lastError=nullable(TEXT)),
    database=record(connected=FLAG, lagSeconds=AMOUNT, lastError=nullable(TEXT)),
    flush=record(batches=COUNT, rows=COUNT, failures=COUNT, lastAt=nullable(TIME)),
    upkeep=record(failures=table(COUNT), clockAheadSeconds=NUMBER),
    degradations=items(TEXT),
)
HEALTH = record(status=one_of("ok"))
READINESS = record(status=one_of("ok", "degraded"), degradations=items(TEXT))
