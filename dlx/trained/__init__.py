"""Trained networks: evaluate, predict, compare, reproduce, prove that resuming is exact."""
