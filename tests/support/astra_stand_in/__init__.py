"""Astra DB on loopback, of real parts: what the tests, and a developer without an account, connect to."""
