"""The intake: takes what arrived, counts it, hands it to live state and store, acknowledges it."""
