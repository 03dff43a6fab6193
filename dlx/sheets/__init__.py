"""Sheets of what networks make: images side by side, points in the plane, histograms, else the numbers."""
