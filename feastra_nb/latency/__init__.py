"""Latency: load generation, recording, and the report."""
