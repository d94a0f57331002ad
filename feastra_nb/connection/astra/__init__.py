"""Astra DB: the DevOps API that finds a database, and the secure connect bundle that leads to it."""
