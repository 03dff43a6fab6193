"""The plan of a network: structure to nodes, with shapes, counts and receptive fields. No torch."""

from . import memory
from .counted import Counted, counted_as
from .expect import unmet, unmet_by
from .graph import Graph, LayerNode, Seen
from .graphs import Graphs
from .inputs import input_shapes
from .trace import FREEZE, find, trace, trace_all

__all__ = [
    "FREEZE",
    "Counted",
    "Graph",
    "Graphs",
    "LayerNode",
    "Seen",
    "counted_as",
    "find",
    "input_shapes",
    "memory",
    "trace",
    "trace_all",
    "unmet",
    "unmet_by",
]
