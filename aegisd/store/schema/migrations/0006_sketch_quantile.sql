-- The function finds the other one wherever the tables are, whatever search_path the caller has.

CREATE OR REPLACE FUNCTION sketch_quantile(sketch numeric, share double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (sketch_quantiles(sketch, ARRAY[share]))[1];
