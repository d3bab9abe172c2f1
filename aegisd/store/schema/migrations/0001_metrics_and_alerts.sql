-- The metric tables, partitioned by UTC day, and the alerts.
--
-- BRIN on the timestamp costs COPY next to nothing and finds a time range in rows that lie in
-- the order of time; a B-tree would halve the rate of writing. Partitions are made by the
-- daemon when it first writes to a day.

CREATE TABLE request_metrics (
    "timestamp"   timestamptz NOT NULL,
    method        text NOT NULL,
    path          text NOT NULL,
    endpoint      text NOT NULL,
    status_code   smallint NOT NULL,
    duration_ms   double precision,
    backend       text,
    client_ip     text,
    error_message text,
    node          text NOT NULL,
    weight        real NOT NULL DEFAULT 1
) PARTITION BY RANGE ("timestamp");
CREATE INDEX request_metrics_timestamp ON request_metrics USING brin ("timestamp");

CREATE TABLE rate_limit_metrics (
    "timestamp" timestamptz NOT NULL,
    key         text NOT NULL,
    allowed     boolean NOT NULL,
    remaining   bigint,
    "limit"     bigint,
    node        text NOT NULL
) PARTITION BY RANGE ("timestamp");
CREATE INDEX rate_limit_metrics_timestamp ON rate_limit_metrics USING brin ("timestamp");

CREATE TABLE backend_metrics (
    "timestamp"      timestamptz NOT NULL,
    backend_name     text NOT NULL,
    status           text NOT NULL,
    response_time_ms double precision,
    circuit_breaker  text,
    node             text NOT NULL
) PARTITION BY RANGE ("timestamp");
CREATE INDEX backend_metrics_timestamp ON backend_metrics USING brin ("timestamp");

CREATE TABLE system_metrics (
    "timestamp"        timestamptz NOT NULL,
    source             text,
    active_connections bigint NOT NULL,
    cpu_percent        real,
    memory_bytes       bigint,
    open_files         bigint,
    node               text NOT NULL
) PARTITION BY RANGE ("timestamp");
CREATE INDEX system_metrics_timestamp ON system_metrics USING brin ("timestamp");

CREATE TABLE alerts (
    id              uuid PRIMARY KEY,
    rule_id         text NOT NULL,
    rule_name       text NOT NULL,
    severity        text NOT NULL,
    status          text NOT NULL,
    message         text NOT NULL,
    current_value   double precision NOT NULL,
    threshold       double precision NOT NULL,
    triggered_at    timestamptz NOT NULL,
    resolved_at     timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    node            text NOT NULL
);
CREATE INDEX alerts_triggered_at ON alerts (triggered_at);
