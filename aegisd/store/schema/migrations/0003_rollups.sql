-- Rollups: what the rows of a span of time add up to, with a sketch of their durations.
--
-- A sketch is one number: its bins' counts side by side, twelve decimal digits each, bin 0 the
-- lowest. Merging sketches is adding them, which sum() does at the speed of C, in parallel and on
-- any node; no extension is needed.
--
-- The writer adds pieces, in the transaction of the rows they sum. The maintainer folds them into
-- the levels (10 s, 1 min, 1 h, 1 day). A late piece takes the place of its bucket's row, added to
-- it; on Citus it becomes one more row. Readers add up the rows of a bucket.
--
-- All nodes' figures are the rows WHERE NOT summed; one node's those WHERE node = '…'. Where
-- several nodes had part, the maintainer adds a row of them all (node ''), and marks theirs as
-- summed in it.
--
-- Names have the storage MAIN: Postgres would move texts of 24 bytes and more out of a row that is
-- too wide, each to be read for itself, before it compresses the sketch that makes it so.

CREATE TABLE sketch_formats (
    format             smallint PRIMARY KEY,
    relative_accuracy  double precision NOT NULL,
    gamma              double precision NOT NULL, -- bin i + 1 holds (gamma^(i-1), gamma^i] us
    digits             integer NOT NULL           -- decimal digits of a bin
);
INSERT INTO sketch_formats VALUES (1, 0.01, 1.01 / 0.99, 12);

CREATE TABLE request_rollups_10s (
    bucket          timestamptz NOT NULL,
    node            text NOT NULL,
    summed          boolean NOT NULL,
    requests        bigint NOT NULL,
    status_2xx      bigint NOT NULL,
    status_3xx      bigint NOT NULL,
    status_4xx      bigint NOT NULL,
    status_5xx      bigint NOT NULL,
    status_other    bigint NOT NULL,
    failed          bigint NOT NULL,
    rate_limited    bigint NOT NULL, -- status 429
    checked         bigint NOT NULL, -- rate-limit decisions
    denied          bigint NOT NULL,
    timed           bigint NOT NULL, -- requests with a duration
    duration_sum_us numeric NOT NULL,
    duration_min_us bigint,
    duration_max_us bigint,
    sketch          numeric NOT NULL,
    sketch_format   smallint NOT NULL
) PARTITION BY RANGE (bucket);
ALTER TABLE request_rollups_10s ALTER COLUMN node SET STORAGE MAIN;
CREATE INDEX request_rollups_10s_all ON request_rollups_10s (summed, bucket);
CREATE INDEX request_rollups_10s_node ON request_rollups_10s (node, bucket);

CREATE TABLE request_rollups_1m (LIKE request_rollups_10s INCLUDING STORAGE)
    PARTITION BY RANGE (bucket);
CREATE INDEX request_rollups_1m_all ON request_rollups_1m (summed, bucket);
CREATE INDEX request_rollups_1m_node ON request_rollups_1m (node, bucket);

CREATE TABLE request_rollups_1h (LIKE request_rollups_10s INCLUDING STORAGE)
    PARTITION BY RANGE (bucket);
CREATE INDEX request_rollups_1h_all ON request_rollups_1h (summed, bucket);
CREATE INDEX request_rollups_1h_node ON request_rollups_1h (node, bucket);

CREATE TABLE request_rollups_1d (LIKE request_rollups_10s INCLUDING STORAGE);
CREATE INDEX request_rollups_1d_all ON request_rollups_1d (summed, bucket);
CREATE INDEX request_rollups_1d_node ON request_rollups_1d (node, bucket);

-- The busiest endpoints of each minute, hour and day; the rest stand as (other).

CREATE TABLE endpoint_rollups_1m (
    bucket          timestamptz NOT NULL,
    node            text NOT NULL,
    summed          boolean NOT NULL,
    method          text NOT NULL,
    endpoint        text NOT NULL,
    requests        bigint NOT NULL,
    status_2xx      bigint NOT NULL,
    status_3xx      bigint NOT NULL,
    status_4xx      bigint NOT NULL,
    status_5xx      bigint NOT NULL,
    status_other    bigint NOT NULL,
    failed          bigint NOT NULL,
    rate_limited    bigint NOT NULL,
    timed           bigint NOT NULL,
    duration_sum_us numeric NOT NULL,
    duration_min_us bigint,
    duration_max_us bigint,
    sketch          numeric NOT NULL,
    sketch_format   smallint NOT NULL
) PARTITION BY RANGE (bucket);
ALTER TABLE endpoint_rollups_1m
    ALTER COLUMN node SET STORAGE MAIN,
    ALTER COLUMN method SET STORAGE MAIN,
    ALTER COLUMN endpoint SET STORAGE MAIN;
CREATE INDEX endpoint_rollups_1m_all ON endpoint_rollups_1m (summed, bucket);
CREATE INDEX endpoint_rollups_1m_node ON endpoint_rollups_1m (node, bucket);

CREATE TABLE endpoint_rollups_1h (LIKE endpoint_rollups_1m INCLUDING STORAGE)
    PARTITION BY RANGE (bucket);
CREATE INDEX endpoint_rollups_1h_all ON endpoint_rollups_1h (summed, bucket);
CREATE INDEX endpoint_rollups_1h_node ON endpoint_rollups_1h (node, bucket);

CREATE TABLE endpoint_rollups_1d (LIKE endpoint_rollups_1m INCLUDING STORAGE);
CREATE INDEX endpoint_rollups_1d_all ON endpoint_rollups_1d (summed, bucket);
CREATE INDEX endpoint_rollups_1d_node ON endpoint_rollups_1d (node, bucket);

-- The keys with most rate-limit decisions, likewise.

CREATE TABLE rate_limit_rollups_1m (
    bucket  timestamptz NOT NULL,
    node    text NOT NULL,
    summed  boolean NOT NULL,
    key     text NOT NULL,
    checked bigint NOT NULL,
    denied  bigint NOT NULL
) PARTITION BY RANGE (bucket);
CREATE INDEX rate_limit_rollups_1m_all ON rate_limit_rollups_1m (summed, bucket);
CREATE INDEX rate_limit_rollups_1m_node ON rate_limit_rollups_1m (node, bucket);

CREATE TABLE rate_limit_rollups_1h (LIKE rate_limit_rollups_1m) PARTITION BY RANGE (bucket);
CREATE INDEX rate_limit_rollups_1h_all ON rate_limit_rollups_1h (summed, bucket);
CREATE INDEX rate_limit_rollups_1h_node ON rate_limit_rollups_1h (node, bucket);

CREATE TABLE rate_limit_rollups_1d (LIKE rate_limit_rollups_1m);
CREATE INDEX rate_limit_rollups_1d_all ON rate_limit_rollups_1d (summed, bucket);
CREATE INDEX rate_limit_rollups_1d_node ON rate_limit_rollups_1d (node, bucket);

-- What the writer adds, until it is folded. They are found by time, as after hard times the tables
-- are mostly empty pages. The maintainer vacuums: what it deletes each time is most of the table.
-- Truncating the tables would hold the writers up.

CREATE TABLE request_pieces (LIKE request_rollups_10s INCLUDING STORAGE)
    WITH (vacuum_truncate = off);
ALTER TABLE request_pieces
    DROP COLUMN summed,
    ADD COLUMN claimed boolean NOT NULL DEFAULT false, -- is being folded
    ALTER COLUMN duration_sum_us TYPE bigint;
CREATE TABLE endpoint_pieces (LIKE endpoint_rollups_1m INCLUDING STORAGE)
    WITH (vacuum_truncate = off);
ALTER TABLE endpoint_pieces
    DROP COLUMN summed,
    ADD COLUMN claimed boolean NOT NULL DEFAULT false,
    ALTER COLUMN duration_sum_us TYPE bigint;
CREATE TABLE rate_limit_pieces (LIKE rate_limit_rollups_1m) WITH (vacuum_truncate = off);
ALTER TABLE rate_limit_pieces
    DROP COLUMN summed,
    ADD COLUMN claimed boolean NOT NULL DEFAULT false;
CREATE INDEX request_pieces_bucket ON request_pieces (bucket);
CREATE INDEX endpoint_pieces_bucket ON endpoint_pieces (bucket);
CREATE INDEX rate_limit_pieces_bucket ON rate_limit_pieces (bucket);

-- How far the maintainer has come: pieces before these times go to the hours and days at once.

CREATE TABLE rollup_progress (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    hours_closed   timestamptz NOT NULL,
    days_closed    timestamptz NOT NULL,
    folded_at      timestamptz NOT NULL
);
INSERT INTO rollup_progress (hours_closed, days_closed, folded_at) VALUES (
    date_bin('1 hour', now(), '1970-01-01 00:00:00+00'),
    date_bin('1 day', now(), '1970-01-01 00:00:00+00'),
    '1970-01-01 00:00:00+00'
);

-- How the tables lie (storage.layout), from the start on.

CREATE TABLE storage_layout (layout text NOT NULL);
INSERT INTO storage_layout VALUES ('partitions');

-- Sketches in plain SQL.

CREATE AGGREGATE sketch_merge (numeric) (
    SFUNC = numeric_add, STYPE = numeric, COMBINEFUNC = numeric_add, PARALLEL = SAFE
);
COMMENT ON AGGREGATE sketch_merge (numeric) IS 'Sketches merged; sum() does the same.';
