"""Phase 4: speech joins, and the door opens (API, demo, deployment)."""
