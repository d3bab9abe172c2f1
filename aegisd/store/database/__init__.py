"""The connection to Postgres: the only room that knows asyncio."""
