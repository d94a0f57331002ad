"""Cassandra and nothing of notebooks: the log table, its catalog and journal, the codec, writer and reader."""
