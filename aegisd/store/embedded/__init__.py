"""A private Postgres, started and stopped by the daemon: a state directory goes in, a DSN out."""

from aegisd.store.embedded.cluster import EMBEDDED, dsn_of, embedded_postgres

__all__ = ["EMBEDDED", "dsn_of", "embedded_postgres"]
