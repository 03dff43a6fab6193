"""Processes and machines that train the trials of a sweep."""
