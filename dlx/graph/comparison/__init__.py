"""Two graphs side by side, and the counts of other tools."""
