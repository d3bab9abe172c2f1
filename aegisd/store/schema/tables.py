"""The names of all tables, and which of them are partitioned by days. Pure.

Their columns are in ``migrations/``; ``levels`` has the tables of rollups as data.
"""

from aegisd.store.schema.levels import DAY, FINE, HOUR, MINUTE, ROLLUP_KINDS

RAW = ("request_metrics", "rate_limit_metrics", "backend_metrics", "system_metrics")
"""The tables of events, a row each."""

HOURLY_DAYS = 32  # in a partition of hourly rollups: two years of them are 24 partitions

PARTITIONED = dict.fromkeys(RAW, 1) | {
    kind.table(level): HOURLY_DAYS if level == HOUR else 1
    for level in (FINE, MINUTE, HOUR)
    for kind in ROLLUP_KINDS
    if level in kind.levels
}
"""How many days a partition of each table holds."""

UNPARTITIONED_ROLLUPS = (
    *(kind.table(DAY) for kind in ROLLUP_KINDS),
    *(kind.pieces_table for kind in ROLLUP_KINDS),
)
"""The daily rollups, which are kept for good, and the pieces, which wait to be folded."""

TABLES = (
    *PARTITIONED,
    *UNPARTITIONED_ROLLUPS,
    *(
        "alerts",
        "alert_silences",
        "journals",
        "rollup_progress",
        "storage_layout",
        "sketch_formats",
    ),
    *("aegisd_schema", "aegisd_policy"),
)
"""All tables of an installation. Their partitions are not among them."""
