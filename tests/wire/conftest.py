"""Hypothesis for this folder: no test measures time, none depends on an earlier run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "aegisd", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("aegisd")
