"""A spec to its results: run folder, checkpoints, seeds, ensembles, packs, lock file."""
