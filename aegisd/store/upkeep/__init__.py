"""Upkeep of the database: folding, partitions ahead, retention, policy.

The task ``Maintainer`` does it all: it gets the database, the configuration and clocks, and gives
figures and what fails now. ``read_policy`` and ``put_policy`` are for commands, too.
"""

from aegisd.store.upkeep.maintainer import Maintainer, UpkeepFigures
from aegisd.store.upkeep.policy import Policy, kept_from, put_policy, read_policy

__all__ = [
    "Maintainer",
    "Policy",
    "UpkeepFigures",
    "kept_from",
    "put_policy",
    "read_policy",
]
