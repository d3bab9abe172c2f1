"""Units of time: how many microseconds (``_US``) or seconds (``_SECONDS``) each has.

Whole microseconds: timestamps of events, starts and ends of ranges and buckets, times from the
database (all since 1970); and durations of requests.

Seconds: times by the daemon's clocks, as in figures and in the records of the journal; and all
lengths, as of buckets, windows, intervals and timeouts.

Where the two meet, names end in ``_us`` or ``_seconds``.
"""

MILLISECOND_US = 1_000
SECOND_US = 1_000_000

MINUTE_SECONDS = 60
HOUR_SECONDS = 60 * MINUTE_SECONDS
DAY_SECONDS = 24 * HOUR_SECONDS

DAY_US = DAY_SECONDS * SECOND_US
