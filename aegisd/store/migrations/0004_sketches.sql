-- Sketches in plain SQL, and views with quantiles for those who query by hand or with Grafana.

CREATE FUNCTION sketch_bins(sketch numeric) RETURNS TABLE (bin integer, count bigint)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 300
AS $$
    -- as bytes, since in a text of UTF-8 the n-th character is found by walking there
    WITH digits AS MATERIALIZED (
        SELECT lpad(d, (length(d) + 11) / 12 * 12, '0') AS padded FROM (SELECT sketch::text AS d) s
    ), octets AS MATERIALIZED (
        SELECT convert_to(padded, 'SQL_ASCII') AS o, length(padded) / 12 AS bins,
            (length(padded) - length(rtrim(padded, '0'))) / 12 AS empty
        FROM digits
    ), fields AS MATERIALIZED (
        SELECT i, substr(o, (bins - 1 - i) * 12 + 1, 12) AS field
        FROM octets, generate_series(empty, bins - 1) i
    )
    SELECT i, convert_from(field, 'SQL_ASCII')::bigint FROM fields
    WHERE field <> '000000000000'::bytea
$$;
COMMENT ON FUNCTION sketch_bins(numeric) IS 'A sketch''s occupied bins and their counts.';

CREATE FUNCTION sketch_quantiles(sketch numeric, shares double precision[])
RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    gamma CONSTANT double precision := 1.01::float8 / 0.99;
    digits text := sketch::text;
    octets bytea := convert_to(lpad(digits, (length(digits) + 11) / 12 * 12, '0'), 'SQL_ASCII');
    first integer := (length(digits) - length(rtrim(digits, '0'))) / 12; -- the lowest bin in use
    up_to bigint[] := array_fill(0::bigint, ARRAY[length(octets) / 12 - first]);
    n bigint := 0;
BEGIN
    FOR i IN 1 .. cardinality(up_to) LOOP
        n := n + encode(substr(octets, length(octets) - 12 * (first + i) + 1, 12), 'escape')::bigint;
        up_to[i] := n;
    END LOOP;
    RETURN ARRAY(
        SELECT CASE
            WHEN n = 0 THEN NULL
            WHEN bin = 0 THEN 0
            ELSE 2 * gamma ^ (bin - 1) / (gamma + 1) / 1000
        END
        FROM (
            -- ranks in whole numbers: 0.95 * 20 must be 19, not 19.000000000000004
            SELECT place, first + width_bucket(
                greatest(1, ceil(n * round((share * 1000000)::numeric) / 1000000))::bigint - 1, up_to
            ) AS bin
            FROM unnest(shares) WITH ORDINALITY AS wanted (share, place)
        ) ranked
        ORDER BY place
    );
END
$$;
COMMENT ON FUNCTION sketch_quantiles(numeric, double precision[]) IS
    'In ms: for each share the smallest duration that at least that share of all does not exceed.';

CREATE FUNCTION sketch_quantile(sketch numeric, share double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT (sketch_quantiles(sketch, ARRAY[share]))[1] $$;
COMMENT ON FUNCTION sketch_quantile(numeric, double precision) IS
    'In ms: the smallest duration that at least that share of all does not exceed.';

-- By minute and by hour, what is not folded yet included.

CREATE VIEW requests_per_minute AS
SELECT bucket,
    requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed,
    duration_sum_us / 1000 / nullif(timed, 0) AS avg_ms,
    duration_min_us / 1000.0 AS min_ms,
    duration_max_us / 1000.0 AS max_ms,
    quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
    sketch
FROM (
    SELECT bucket,
        sum(requests)::bigint AS requests,
        sum(status_2xx)::bigint AS status_2xx,
        sum(status_3xx)::bigint AS status_3xx,
        sum(status_4xx)::bigint AS status_4xx,
        sum(status_5xx)::bigint AS status_5xx,
        sum(status_other)::bigint AS status_other,
        sum(failed)::bigint AS failed,
        sum(rate_limited)::bigint AS rate_limited,
        sum(checked)::bigint AS checked,
        sum(denied)::bigint AS denied,
        sum(timed)::bigint AS timed,
        sum(duration_sum_us) AS duration_sum_us,
        min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us,
        sketch_quantiles(sum(sketch), '{0.5, 0.95, 0.99}') AS quantiles,
        sum(sketch) AS sketch
    FROM (
        SELECT bucket, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_rollups_1m WHERE NOT summed
        UNION ALL
        SELECT date_bin('1 minute', bucket, '1970-01-01 00:00:00+00') AS bucket, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_pieces
    ) pieces
    GROUP BY bucket
) merged;

CREATE VIEW requests_per_minute_by_node AS
SELECT bucket, node,
    requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed,
    duration_sum_us / 1000 / nullif(timed, 0) AS avg_ms,
    duration_min_us / 1000.0 AS min_ms,
    duration_max_us / 1000.0 AS max_ms,
    quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
    sketch
FROM (
    SELECT bucket, node,
        sum(requests)::bigint AS requests,
        sum(status_2xx)::bigint AS status_2xx,
        sum(status_3xx)::bigint AS status_3xx,
        sum(status_4xx)::bigint AS status_4xx,
        sum(status_5xx)::bigint AS status_5xx,
        sum(status_other)::bigint AS status_other,
        sum(failed)::bigint AS failed,
        sum(rate_limited)::bigint AS rate_limited,
        sum(checked)::bigint AS checked,
        sum(denied)::bigint AS denied,
        sum(timed)::bigint AS timed,
        sum(duration_sum_us) AS duration_sum_us,
        min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us,
        sketch_quantiles(sum(sketch), '{0.5, 0.95, 0.99}') AS quantiles,
        sum(sketch) AS sketch
    FROM (
        SELECT bucket, node, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_rollups_1m WHERE node <> ''
        UNION ALL
        SELECT date_bin('1 minute', bucket, '1970-01-01 00:00:00+00') AS bucket, node, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_pieces
    ) pieces
    GROUP BY bucket, node
) merged;

CREATE VIEW endpoints_per_minute AS
SELECT bucket, method, endpoint,
    requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed,
    duration_sum_us / 1000 / nullif(timed, 0) AS avg_ms,
    duration_min_us / 1000.0 AS min_ms,
    duration_max_us / 1000.0 AS max_ms,
    quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
    sketch
FROM (
    SELECT bucket, method, endpoint,
        sum(requests)::bigint AS requests,
        sum(status_2xx)::bigint AS status_2xx,
        sum(status_3xx)::bigint AS status_3xx,
        sum(status_4xx)::bigint AS status_4xx,
        sum(status_5xx)::bigint AS status_5xx,
        sum(status_other)::bigint AS status_other,
        sum(failed)::bigint AS failed,
        sum(rate_limited)::bigint AS rate_limited,
        sum(timed)::bigint AS timed,
        sum(duration_sum_us) AS duration_sum_us,
        min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us,
        sketch_quantiles(sum(sketch), '{0.5, 0.95, 0.99}') AS quantiles,
        sum(sketch) AS sketch
    FROM (
        SELECT bucket, method, endpoint, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM endpoint_rollups_1m WHERE NOT summed
        UNION ALL
        SELECT bucket, method, endpoint, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM endpoint_pieces
    ) pieces
    GROUP BY bucket, method, endpoint
) merged;

CREATE VIEW requests_per_hour AS
SELECT bucket,
    requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed,
    duration_sum_us / 1000 / nullif(timed, 0) AS avg_ms,
    duration_min_us / 1000.0 AS min_ms,
    duration_max_us / 1000.0 AS max_ms,
    quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
    sketch
FROM (
    SELECT bucket,
        sum(requests)::bigint AS requests,
        sum(status_2xx)::bigint AS status_2xx,
        sum(status_3xx)::bigint AS status_3xx,
        sum(status_4xx)::bigint AS status_4xx,
        sum(status_5xx)::bigint AS status_5xx,
        sum(status_other)::bigint AS status_other,
        sum(failed)::bigint AS failed,
        sum(rate_limited)::bigint AS rate_limited,
        sum(checked)::bigint AS checked,
        sum(denied)::bigint AS denied,
        sum(timed)::bigint AS timed,
        sum(duration_sum_us) AS duration_sum_us,
        min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us,
        sketch_quantiles(sum(sketch), '{0.5, 0.95, 0.99}') AS quantiles,
        sum(sketch) AS sketch
    FROM (
        SELECT bucket, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_rollups_1h WHERE NOT summed
        UNION ALL
        SELECT date_bin('1 hour', bucket, '1970-01-01 00:00:00+00') AS bucket, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_rollups_1m WHERE NOT summed
            AND bucket >= (SELECT hours_closed FROM rollup_progress)
        UNION ALL
        SELECT date_bin('1 hour', bucket, '1970-01-01 00:00:00+00') AS bucket, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_pieces
    ) pieces
    GROUP BY bucket
) merged;

CREATE VIEW requests_per_hour_by_node AS
SELECT bucket, node,
    requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed,
    duration_sum_us / 1000 / nullif(timed, 0) AS avg_ms,
    duration_min_us / 1000.0 AS min_ms,
    duration_max_us / 1000.0 AS max_ms,
    quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
    sketch
FROM (
    SELECT bucket, node,
        sum(requests)::bigint AS requests,
        sum(status_2xx)::bigint AS status_2xx,
        sum(status_3xx)::bigint AS status_3xx,
        sum(status_4xx)::bigint AS status_4xx,
        sum(status_5xx)::bigint AS status_5xx,
        sum(status_other)::bigint AS status_other,
        sum(failed)::bigint AS failed,
        sum(rate_limited)::bigint AS rate_limited,
        sum(checked)::bigint AS checked,
        sum(denied)::bigint AS denied,
        sum(timed)::bigint AS timed,
        sum(duration_sum_us) AS duration_sum_us,
        min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us,
        sketch_quantiles(sum(sketch), '{0.5, 0.95, 0.99}') AS quantiles,
        sum(sketch) AS sketch
    FROM (
        SELECT bucket, node, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_rollups_1h WHERE node <> ''
        UNION ALL
        SELECT date_bin('1 hour', bucket, '1970-01-01 00:00:00+00') AS bucket, node, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_rollups_1m WHERE node <> ''
            AND bucket >= (SELECT hours_closed FROM rollup_progress)
        UNION ALL
        SELECT date_bin('1 hour', bucket, '1970-01-01 00:00:00+00') AS bucket, node, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, checked, denied, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM request_pieces
    ) pieces
    GROUP BY bucket, node
) merged;

CREATE VIEW endpoints_per_hour AS
SELECT bucket, method, endpoint,
    requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed,
    duration_sum_us / 1000 / nullif(timed, 0) AS avg_ms,
    duration_min_us / 1000.0 AS min_ms,
    duration_max_us / 1000.0 AS max_ms,
    quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
    sketch
FROM (
    SELECT bucket, method, endpoint,
        sum(requests)::bigint AS requests,
        sum(status_2xx)::bigint AS status_2xx,
        sum(status_3xx)::bigint AS status_3xx,
        sum(status_4xx)::bigint AS status_4xx,
        sum(status_5xx)::bigint AS status_5xx,
        sum(status_other)::bigint AS status_other,
        sum(failed)::bigint AS failed,
        sum(rate_limited)::bigint AS rate_limited,
        sum(timed)::bigint AS timed,
        sum(duration_sum_us) AS duration_sum_us,
        min(duration_min_us) AS duration_min_us,
        max(duration_max_us) AS duration_max_us,
        sketch_quantiles(sum(sketch), '{0.5, 0.95, 0.99}') AS quantiles,
        sum(sketch) AS sketch
    FROM (
        SELECT bucket, method, endpoint, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM endpoint_rollups_1h WHERE NOT summed
        UNION ALL
        SELECT date_bin('1 hour', bucket, '1970-01-01 00:00:00+00') AS bucket, method, endpoint, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM endpoint_rollups_1m WHERE NOT summed
            AND bucket >= (SELECT hours_closed FROM rollup_progress)
        UNION ALL
        SELECT date_bin('1 hour', bucket, '1970-01-01 00:00:00+00') AS bucket, method, endpoint, requests, status_2xx, status_3xx, status_4xx, status_5xx, status_other, failed, rate_limited, timed, duration_sum_us, duration_min_us, duration_max_us, sketch
        FROM endpoint_pieces
    ) pieces
    GROUP BY bucket, method, endpoint
) merged;
