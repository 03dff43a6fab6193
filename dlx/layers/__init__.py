"""Layers: one file per family, found by the registry. `dlx layers` lists them."""

from .base import LAYERS, Example, Layer, Plan

__all__ = ["LAYERS", "Example", "Layer", "Plan"]
