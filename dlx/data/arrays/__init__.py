"""Files of arrays: NumPy, safetensors and torch."""
