"""What stands between Feast and the storage room: its objects, rows, configuration and ways of reading, in our terms."""
