"""The store: accepted events go to disk and to Postgres, and come back as history.

``storage`` takes events in and tells its figures; ``history`` answers questions about the past;
``upkeep`` keeps the database in order. Each folder is a package, used through its ``__init__``.
"""
