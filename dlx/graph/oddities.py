"""Warnings of what is odd in a network and no mistake: what has no use, and layers on an axis seldom meant."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Problem
from ..shapes import Shape, Window
from ..spec import Experiment
from .expansion.place import Placer
from .graph import LayerNode
from .unused import words_of_expressions

SEES = {
    "layer_norm": (
        "layer_norm takes the last axis, one of the positions of {} from `{}`, not its channels",
        "`over: channels` takes the channels of each position, `over: sample` all values.",
    ),
    "linear": (
        "linear maps the last axis, one of the positions of {} from `{}`, not its channels",
        "`- flatten` before it takes all values; `conv` with `kernel_size: 1` maps channels.",
    ),
}
"""Layers of the last axis on a map of channels and positions: the sentence and the way out."""

ONCE = {"relu", "relu6", "flatten", "heaviside"}
"""Layers that change nothing of what they have made."""


def warn(placer: Placer, outputs: Mapping[str, str], shapes: Mapping[str, Shape], experiment: Experiment) -> None:
    """Add the warnings of a network, which `experiment` is the view of, to those of its layers."""
    _of_unused(placer, outputs)
    _of_inputs(placer, outputs, experiment)
    _of_axes(placer, shapes)
    _of_repeats(placer)


def _of_unused(placer: Placer, outputs: Mapping[str, str]) -> None:
    """Warn of nodes that no output depends on."""
    used = set(outputs.values())
    for node in reversed(placer.nodes):
        if node.name in used:
            used.update(node.inputs)
        else:
            message = f"`{node.name}` leads to no output"
            path = f"{placer.path}.{node.name}"
            placer.warned.add(Problem(message, "", node.mark, path), "leads to no output")


def _of_inputs(placer: Placer, outputs: Mapping[str, str], experiment: Experiment) -> None:
    """Warn of inputs that the spec names and no layer takes."""
    taken = {name for node in placer.nodes for name in node.inputs} | set(outputs.values())
    inputs = experiment.network.at("inputs")
    for name in inputs.map if inputs is not None else ():
        if name not in taken and placer.nodes:
            path = f"{placer.path.removesuffix('layers')}inputs.{name}"
            in_layers = experiment.network.at("layers"), experiment.blocks
            needed = any(name in words_of_expressions(node) for node in in_layers if node is not None)
            way_out = "an expression needs its shape." if needed else "else drop it."
            message, hint = f"no layer takes the input `{name}`", f"`from: {name}` takes it; {way_out}"
            placer.warned.add(Problem(message, hint, placer.marks.get(name), path))


def _of_axes(placer: Placer, shapes: Mapping[str, Shape]) -> None:
    """Warn of layers that take the last axis of a map, on which each channel has its positions."""
    maps = {name for name, shape in shapes.items() if len(shape) > 2 and shape.dtype == "float"}
    for node in placer.nodes:
        on_map = bool(node.inputs) and node.inputs[0] in maps
        if on_map and _takes_last(node):
            message, hint = SEES[node.kind]
            message = message.format(node.arriving[0], node.inputs[0])
            placer.warned.add(Problem(message, hint, node.mark, f"{placer.path}.{node.name}"), node.kind)
        elif isinstance(node.plan.window, Window) or (on_map and node.plan.window == "pointwise"):
            maps.add(node.name)


def _of_repeats(placer: Placer) -> None:
    """Warn of layers that follow one of their own and change nothing, such as a line that stands twice."""
    before = {node.name: node for node in placer.nodes}
    for node in placer.nodes:
        first = before.get(node.inputs[0]) if node.kind in ONCE else None
        if first is not None and first.kind == node.kind and first.layer == node.layer:
            message, hint = f"{node.kind} changes nothing: it follows `{first.name}`", "Drop one of them."
            placer.warned.add(Problem(message, hint, node.mark, f"{placer.path}.{node.name}"), "changes nothing")


def _takes_last(node: LayerNode) -> bool:
    if tuple(node.arriving[0][:-1]) == (1,):
        return False  # a signal of one channel: its positions are all of its values
    return node.kind == "linear" or (node.kind == "layer_norm" and getattr(node.layer, "over", None) == 1)
