"""A Feast feature store on Apache Cassandra or Astra DB, from a notebook."""

__version__ = "0.1.0"
