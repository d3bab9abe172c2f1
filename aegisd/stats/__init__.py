"""Statistics: a block's columns in; counts and sums by group, sketches and quantiles out. Pure.

``grouping`` adds up by second, or by minute and name. ``sketch`` is the DDSketch. ``durations``
finds the bins of a block's durations.
"""
