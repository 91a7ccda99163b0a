"""Sound: read, trimmed, as mel frames, changed, in batches."""
