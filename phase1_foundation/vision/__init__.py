"""Pictures in: the vision encoder, its objectives and its probes."""
