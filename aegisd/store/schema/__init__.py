"""The tables: migrations, layouts, partitions, and the levels of rollups."""
