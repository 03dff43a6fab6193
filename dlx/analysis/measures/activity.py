"""Units of activations by their slopes: dead, always active, saturated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ...graph import Graph, LayerNode

FLAT = frozenset({"relu", "relu6", "threshold", "heaviside", "sign", "rect", "hardshrink", "softshrink"})
"""Activations whose slope is exactly 0 somewhere."""
SQUASHING = frozenset({"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid"})
"""Activations that are flat at both ends."""
PIECES = frozenset({"relu", "relu6", "leaky_relu", "prelu"})
"""Piecewise linear activations."""
STUCK = 0.05
"""Fraction of its steepest slope below which an activation is saturated: beyond 4.4 for sigmoid, 2.2 for tanh."""


@dataclass(frozen=True)
class Activity:
    """How the units of an activation behave over examples and positions; a channel is one unit.

    Attributes:
        units: their number.
        dead: how many have slope 0 everywhere: no gradient passes.
        always_active: how many have one slope, not 0, everywhere: with the layer before they are linear.
        active: share of all values whose slope is not 0.
        saturated: share of all values whose slope is below STUCK of the steepest; 0 where there is no such end.
    """

    units: int
    dead: int
    always_active: int
    active: float
    saturated: float


def activity(graph: Graph, node: LayerNode, module: Any, x: Tensor) -> Activity:
    """Return how the units of an activation behave that is called with x (N, *)."""
    found = slopes(module, x)
    rows = rows_by_unit(graph, node, found)
    moves = rows != 0
    straight = moves[:, 0] & (rows == rows[:, :1]).all(1) if node.kind in PIECES else moves[:, 0] & False
    return Activity(
        units=len(rows),
        dead=int((~moves.any(1)).sum()),
        always_active=int(straight.sum()),
        active=float(moves.float().mean()),
        saturated=saturated(module, x) if node.kind in SQUASHING else 0.0,
    )


def slopes(module: Any, x: Tensor) -> Tensor:
    """Return the derivative of an activation at each of its inputs."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y = module(x)
    return torch.autograd.grad(y.sum(), x)[0] if y.requires_grad else torch.zeros_like(x)


def saturated(module: Any, x: Tensor) -> float:
    """Return the share of values whose slope is below STUCK of the steepest, that at 0 included."""
    found = slopes(module, x).abs()
    steepest = torch.maximum(found.max(), slopes(module, torch.zeros_like(x[:1])).abs().max())
    return float((found < STUCK * steepest).float().mean())


def rows_by_unit(graph: Graph, node: LayerNode, values: Tensor) -> Tensor:
    """Return the values of each unit as a row, over examples and positions; a channel is one unit."""
    if values.dim() < 3:
        return values.reshape(len(values), -1).T
    axis = values.dim() - 1 if _weights_before(graph, node) == "linear" else 1
    return values.movedim(axis, 0).flatten(1)


def _weights_before(graph: Graph, node: LayerNode) -> str:
    """Return the kind of the weight layer before an activation."""
    while node.inputs and not node.is_weight_layer and node.inputs[0] in graph.by_name:
        node = graph.by_name[node.inputs[0]]
    return node.kind
