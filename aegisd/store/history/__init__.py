"""History: questions about the past, answered from rollups or raw rows."""
