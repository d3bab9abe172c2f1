-- How far each daemon's journal is in the database. Its position moves in the transaction of the
-- rows, so that whatever fails, a row is neither lost nor written twice.

CREATE TABLE journals (
    journal  uuid PRIMARY KEY,
    node     text NOT NULL,
    position bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);
