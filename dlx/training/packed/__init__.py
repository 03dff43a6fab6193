"""Networks of one shape trained side by side, as one stacked network."""
