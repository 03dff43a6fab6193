"""Loops written by hand, the best that we know, one file each."""
