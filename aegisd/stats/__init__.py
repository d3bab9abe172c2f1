"""Statistics over blocks: sketches of durations, groups of events. Pure."""
