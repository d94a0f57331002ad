"""Benchmarks: our store beside Feast's own and beside the bare driver. They print and chart; they assert nothing on time."""
