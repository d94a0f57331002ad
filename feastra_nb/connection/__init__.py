"""Connecting: targets, driver sessions, secrets, and the Cassandra on this machine."""
