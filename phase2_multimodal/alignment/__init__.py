"""Alignment: pictures and texts in one space (CLIP)."""
