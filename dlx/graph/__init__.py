"""The plan of a network: structure to nodes, with shapes, counts and receptive fields. No torch."""

from .expect import unmet, unmet_by
from .graph import Graph, LayerNode, Seen
from .trace import find, input_shape, trace

__all__ = ["Graph", "LayerNode", "Seen", "find", "input_shape", "trace", "unmet", "unmet_by"]
