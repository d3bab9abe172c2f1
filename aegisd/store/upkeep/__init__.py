"""Upkeep of the database: folding, partitions ahead, retention, policy."""

from aegisd.store.upkeep.maintenance import Maintainer
from aegisd.store.upkeep.policy import Policy, kept_from, put_policy, read_policy

__all__ = ["Maintainer", "Policy", "kept_from", "put_policy", "read_policy"]
