"""Metrics of the field, each checked against its reference implementation."""
