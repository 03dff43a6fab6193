"""Generated data sets: every example is computed, none is downloaded."""
