"""The words that all packages share.

``protocol``: the wire protocol as data. ``block``: events as columns. ``flows``: who sent what.
``counters``: what is counted of requests. ``units``: units of time. A package imports what it needs
from these modules.
"""
