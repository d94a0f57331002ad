"""The storage layer on Cassandra: the log table, its catalog and journal, writer and reader."""
