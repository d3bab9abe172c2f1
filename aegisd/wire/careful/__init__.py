"""The careful way of decoding: message by message, the one judge of rejects."""
