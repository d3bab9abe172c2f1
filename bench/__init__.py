"""Benchmarks. Nothing in the daemon or its tests imports them."""
