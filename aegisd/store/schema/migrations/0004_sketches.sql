-- Sketches in plain SQL, and views with quantiles, for queries by hand and for Grafana:
-- docs/sql.md.

CREATE FUNCTION sketch_bins(sketch numeric)
RETURNS TABLE (bin integer, count bigint, up_to_ms double precision)
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
    SELECT i, convert_from(field, 'SQL_ASCII')::bigint,
        CASE WHEN i = 0 THEN 0 ELSE (1.01::float8 / 0.99) ^ (i - 1) / 1000 END
    FROM fields
    WHERE field <> '000000000000'::bytea
$$;
COMMENT ON FUNCTION sketch_bins(numeric) IS
    'A sketch''s occupied bins: how many durations each holds, and up to which one (ms).';

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

-- Rollups of a minute, an hour, a day, with what is not folded yet; of all nodes, and by node:
-- {requests | endpoints | rate_limits}_per_{minute | hour | day}[_by_node].
--
-- A level's own rows reach to where it is closed, and what came late for that is one more row. From
-- there on the rows of the finer level are added up. Pieces are in no level yet. So each event is
-- in one of these, and one statement sees all of them at one state.

DO $views$
DECLARE
    epoch CONSTANT text := '''1970-01-01 00:00:00+00''';
    statuses CONSTANT text[] := '{requests,status_2xx,status_3xx,status_4xx,status_5xx,status_other,failed,rate_limited}';
    decisions CONSTANT text[] := '{checked,denied}';
    kind record;
    level record;
    by_node boolean;
    names text;  -- the columns by which rows are told apart, beside the time
    taken text;
    added text;
    shown text;
    whose text;
    rows text;
    view_name text;
    described record;
BEGIN
    FOR kind IN
        SELECT * FROM (VALUES
            ('requests', 'Requests', 'request', '', statuses || decisions, true),
            ('endpoints', 'The busiest endpoints', 'endpoint', ', method, endpoint', statuses, true),
            ('rate_limits', 'The rate limiter''s keys', 'rate_limit', ', key', decisions, false)
        ) kinds (view, about, tables, names, counters, timed)
    LOOP
        FOR level IN
            SELECT * FROM (VALUES ('minute', '1m'), ('hour', '1h'), ('day', '1d')) levels (name, suffix)
        LOOP
            FOREACH by_node IN ARRAY '{false,true}'::boolean[] LOOP
                names := CASE WHEN by_node THEN ', node' ELSE '' END || kind.names;
                whose := CASE WHEN by_node THEN 'node <> ''''' ELSE 'NOT summed' END;
                shown := array_to_string(kind.counters, ', ');
                taken := shown;
                SELECT string_agg(format('sum(%1$s)::bigint AS %1$s', counter), ', ' ORDER BY place)
                    INTO added FROM unnest(kind.counters) WITH ORDINALITY c (counter, place);
                IF kind.timed THEN
                    taken := taken || ', timed, duration_sum_us, duration_min_us, duration_max_us, sketch';
                    added := added || ', sum(timed)::bigint AS timed,
                        sum(duration_sum_us) AS duration_sum_us,
                        min(duration_min_us) AS duration_min_us,
                        max(duration_max_us) AS duration_max_us,
                        sketch_quantiles(sum(sketch), ''{0.5, 0.95, 0.99}'') AS quantiles,
                        sum(sketch) AS sketch';
                    shown := shown || ', timed,
                        (duration_sum_us / 1000 / nullif(timed, 0))::float8 AS avg_ms,
                        duration_min_us / 1000::float8 AS min_ms,
                        duration_max_us / 1000::float8 AS max_ms,
                        quantiles[1] AS p50_ms, quantiles[2] AS p95_ms, quantiles[3] AS p99_ms,
                        sketch';
                END IF;
                rows := format('SELECT bucket%s, %s FROM %s_rollups_%s WHERE %s',
                    names, taken, kind.tables, level.suffix, whose);
                IF level.name = 'day' THEN
                    rows := rows || format(' UNION ALL
                        SELECT date_bin(''1 day'', bucket, %s) AS bucket%s, %s FROM %s_rollups_1h
                        WHERE %s AND bucket >= (SELECT days_closed FROM rollup_progress)',
                        epoch, names, taken, kind.tables, whose);
                END IF;
                IF level.name IN ('day', 'hour') THEN
                    rows := rows || format(' UNION ALL
                        SELECT date_bin(''1 %s'', bucket, %s) AS bucket%s, %s FROM %s_rollups_1m
                        WHERE %s AND bucket >= (SELECT hours_closed FROM rollup_progress)',
                        level.name, epoch, names, taken, kind.tables, whose);
                END IF;
                rows := rows || format(' UNION ALL
                    SELECT date_bin(''1 %s'', bucket, %s) AS bucket%s, %s FROM %s_pieces',
                    level.name, epoch, names, taken, kind.tables);
                view_name := kind.view || '_per_' || level.name
                    || CASE WHEN by_node THEN '_by_node' ELSE '' END;
                EXECUTE format(
                    'CREATE VIEW %I AS SELECT bucket%s, %s FROM (
                        SELECT bucket%s, %s FROM (%s) parts GROUP BY bucket%s
                    ) added',
                    view_name, names, shown, names, added, rows, names
                );
                EXECUTE format('COMMENT ON VIEW %I IS %L', view_name, format(
                    '%s, by UTC %s%s: what the rollups and the pieces not folded yet come to.',
                    kind.about, level.name,
                    CASE WHEN by_node THEN ' and node' ELSE ', of all nodes' END
                ));
                FOR described IN
                    SELECT name, about FROM (VALUES
                        ('bucket', format('Start of the %s', level.name)),
                        ('node', 'The daemon that took them in'),
                        ('method', 'HTTP method'),
                        ('endpoint', 'Route or template; (other) is all beyond the 200 busiest'),
                        ('key', '(other) is all beyond the 200 with most denials'),
                        ('requests', 'Requests, those that sampling left out of the rows too'),
                        ('status_2xx', 'Status 200 to 299'),
                        ('status_3xx', 'Status 300 to 399'),
                        ('status_4xx', 'Status 400 to 499'),
                        ('status_5xx', 'Status 500 to 599'),
                        ('status_other', 'Any other status'),
                        ('failed', 'Status 0, or 400 and above'),
                        ('rate_limited', 'Status 429'),
                        ('checked', 'Decisions of the rate limiter'),
                        ('denied', 'Decisions of the rate limiter that were denials'),
                        ('timed', 'Requests with a duration'),
                        ('avg_ms', 'Mean duration'),
                        ('min_ms', 'Least duration'),
                        ('max_ms', 'Greatest duration'),
                        ('p50_ms', 'Median duration, within 1 %'),
                        ('p95_ms', 'Duration that 95 % don''t exceed, within 1 %'),
                        ('p99_ms', 'Duration that 99 % don''t exceed, within 1 %'),
                        ('sketch', 'The durations: sum() merges sketches, sketch_quantile() reads them')
                    ) columns (name, about)
                    JOIN pg_attribute ON attname = name AND attrelid = view_name::regclass
                LOOP
                    EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', view_name, described.name, described.about);
                END LOOP;
            END LOOP;
        END LOOP;
    END LOOP;
END
$views$;
