"""The larger subcommands of ``feastra``, each with its options; they print, and return an exit code."""
