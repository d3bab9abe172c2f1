"""The words that all rooms share.

``protocol``: the wire protocol as data. ``block``: events as columns. ``flows``: who sent what.
``counters``: what is counted of requests. A room imports what it needs from these modules.
"""
