"""Phase 1: one modality at a time."""
