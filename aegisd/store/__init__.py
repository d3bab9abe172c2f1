"""The store: batches into Postgres (``writer``), series and figures out of it (``history``).

``postgres`` is the only file that knows asyncio; ``embedded`` brings a Postgres of our own.
"""
