"""The vocabulary of networks: one file a family, found by the registry. `dlx layers` lists it."""

from .base import LAYERS, Example, Layer, Plan

__all__ = ["LAYERS", "Example", "Layer", "Plan"]
