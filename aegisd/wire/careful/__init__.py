"""The careful way of decoding: reads any bytes, and judges each event. ``reader`` has the steps."""
