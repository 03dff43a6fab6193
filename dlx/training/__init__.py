"""The loop and what it needs: device, tensors, updates, evaluation, checkpoints. Knows no tracker and no terminal."""
