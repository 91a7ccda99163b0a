"""Speech to text: the encoder, its alphabet, connectionist temporal classification, comparators."""
