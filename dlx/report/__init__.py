"""Results to look at: charts of runs as files."""
