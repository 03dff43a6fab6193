"""The plan of a network: structure to nodes, with shapes, counts and receptive fields. No torch."""

from . import memory_forecast, phase_memory
from .comparison.other_tools import Counted, counted_as
from .expect import of_other_spec, unmet, unmet_by
from .graph import AnyReceptiveField, Graph, LayerNode
from .graphs import Graphs
from .inputs import all_input_shapes, input_shapes
from .stage_plan import stage_plans
from .stages import trace, trace_all, traced
from .walk import FREEZE

__all__ = [
    "FREEZE",
    "AnyReceptiveField",
    "Counted",
    "Graph",
    "Graphs",
    "LayerNode",
    "all_input_shapes",
    "counted_as",
    "input_shapes",
    "memory_forecast",
    "of_other_spec",
    "phase_memory",
    "stage_plans",
    "trace",
    "trace_all",
    "traced",
    "unmet",
    "unmet_by",
]
