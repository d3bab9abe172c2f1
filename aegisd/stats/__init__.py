"""Statistics: the sketch, durations, grouping. Pure."""
