"""A private Postgres, started and stopped by the daemon."""
