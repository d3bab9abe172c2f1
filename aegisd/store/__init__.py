"""The store: from the journal on disk to Postgres, and back as history."""
