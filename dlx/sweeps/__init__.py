"""Many experiments that differ in a few values: what may vary, which are tried, which go on, what they showed."""
