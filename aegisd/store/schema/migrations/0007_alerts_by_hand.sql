-- What people do to alerts: who resolved one by hand, and the silences, which hold back notices.

ALTER TABLE alerts ADD COLUMN resolved_by text;

CREATE TABLE alert_silences (
    id         uuid PRIMARY KEY,
    rule_id    text,
    severity   text,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    comment    text NOT NULL,
    created_by text NOT NULL
);
