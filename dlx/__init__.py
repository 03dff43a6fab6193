"""dlx: deep-learning experiments from one text file."""

__version__ = "0.1.0"
