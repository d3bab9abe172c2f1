"""aegisd: a sidecar daemon that counts and stores an API gateway's events, and raises alerts."""

__version__ = "0.1.0"
