"""Translates between Feast and `storage`: objects, rows, configuration and ways of reading."""
