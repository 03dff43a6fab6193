"""Helpers that know nothing of deep learning, and the private names of torch."""
