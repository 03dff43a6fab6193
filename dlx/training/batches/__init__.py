"""Batches: which examples come next, on the device, under augmentation."""
