"""Latency: the load, what it records, the report."""
