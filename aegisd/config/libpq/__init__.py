"""What libpq, Postgres' client library, does with ``storage.dsn``; the driver does only a part.

``conninfo`` reads and writes connection strings, ``parameters`` says which of their parameters are
taken, ``services`` reads service files. ``dsn`` completes ``storage.dsn`` from all of them.
"""
