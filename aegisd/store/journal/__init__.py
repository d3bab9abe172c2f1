"""The journal on disk: what was accepted, until it is in the database. Knows no Postgres."""
