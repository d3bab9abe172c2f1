"""The daemon: builds all parts, starts and stops them."""
