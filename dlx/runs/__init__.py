"""Runs on disk: their folders, their records, and how they are found."""
