"""Averages of the weights along a training: what is judged and kept in place of the last weights.

One file a topic, found by the registry.
"""

from .base import AVERAGES, Average

__all__ = ["AVERAGES", "Average"]
