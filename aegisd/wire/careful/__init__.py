"""The careful way of decoding: any bytes in; blocks of good events, rejects and flows out.

``reader`` has the steps. ``boundaries`` finds where values end in the bytes. ``wire/checks``, which
the quick way uses too, checks the values: a column of many events at once.
"""
