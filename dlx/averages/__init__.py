"""Averages of the weights during training, which are evaluated and saved in place of the last weights.

One file per topic, found by the registry.
"""

from .base import AVERAGES, Average

__all__ = ["AVERAGES", "Average"]
