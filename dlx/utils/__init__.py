"""Helpers without deep learning, and the names of torch that are not public."""
