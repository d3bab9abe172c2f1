"""Units of time: how many microseconds (``_US``) or seconds (``_SECONDS``) each has.

Moments are whole microseconds since 1970, durations whole microseconds. Lengths of buckets, windows
and timeouts are seconds.
"""

MILLISECOND_US = 1_000
SECOND_US = 1_000_000

MINUTE_SECONDS = 60
HOUR_SECONDS = 60 * MINUTE_SECONDS
DAY_SECONDS = 24 * HOUR_SECONDS

DAY_US = DAY_SECONDS * SECOND_US
