"""The vocabulary that all rooms share: blocks of events, the protocol, counters."""
