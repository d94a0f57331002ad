"""Shared by all reports: HTML, plots, text, saving to files, and progress."""
