"""aegisd: a sidecar that counts, stores and watches what an API gateway does."""

__version__ = "0.1.0"
