"""Materialization: DataFrames and registered views into both stores."""
