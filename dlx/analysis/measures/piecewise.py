"""Which layers are linear, or have kinks, and the values of a network before its kinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import Problem
from ...graph import Graph, LayerNode
from ...lazy import np, torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, fx

    Array = npt.NDArray[np.float64]

LINEAR = frozenset(
    {
        "adaptive_avg_pool",
        "add",
        "alpha_dropout",
        "average",
        "avg_pool",
        "batch_norm",
        "batch_renorm",
        "book_batch_norm",
        "channel_shuffle",
        "concat",
        "conv",
        "conv_transpose",
        "crop",
        "depthwise_conv",
        "drop_connect",
        "drop_path",
        "dropout",
        "feature_alpha_dropout",
        "flatten",
        "frozen_batch_norm",
        "ghost_batch_norm",
        "global_avg_pool",
        "identity",
        "linear",
        "masked_conv",
        "masked_linear",
        "mean",
        "pad",
        "pad_channels",
        "pad_same",
        "permute",
        "pixel_shuffle",
        "pixel_unshuffle",
        "pointwise_conv",
        "reshape",
        "roll",
        "scale",
        "select",
        "separable_conv",
        "shift",
        "slice",
        "spatial_dropout",
        "split",
        "stochastic_depth",
        "subtract",
        "sum",
        "transpose",
        "upsample",
        "weighted_add",
    }
)
"""Kinds of layers that are linear in their inputs, up to a constant, in evaluation."""

OF_SEVERAL = frozenset(
    {"max_pool", "adaptive_max_pool", "global_max_pool", "fractional_max_pool", "maxout", "maximum"}
)
"""Kinds of layers with kinks where two of several inputs are equal: piecewise linear too, in other cells."""

KINKS: Mapping[str, tuple[float | str, ...]] = {
    **dict.fromkeys(("relu", "leaky_relu", "prelu", "rrelu", "crelu"), (0.0,)),
    "relu6": (0.0, 6.0),
    "hardtanh": ("min_val", "max_val"),
    "hardsigmoid": (-3.0, 3.0),
}
"""Activations that are linear between kinks, and where these are: numbers, or fields of the layer."""


def levels_of(node: LayerNode) -> list[float]:
    """Return where an activation has its kinks."""
    return [getattr(node.layer, level) if isinstance(level, str) else level for level in KINKS[node.kind]]


def curved(graph: Graph) -> list[LayerNode]:
    """Return the layers that are neither linear nor activations with kinks."""
    return [node for node in graph.nodes if node.kind not in LINEAR and node.kind not in KINKS]


def problems(graph: Graph, name: str) -> list[Problem]:
    """Return a problem for the first layer that is neither linear nor one with kinks."""
    others = curved(graph)
    if not others:
        return []
    first, more = others[0], f", and {len(others) - 1} more" if len(others) > 1 else ""
    what = "has kinks where two of its inputs are equal, and regions are counted by signs"
    what = what if first.kind in OF_SEVERAL else "is not piecewise linear"
    message = f"`{first.name}` ({first.kind}) of {name} {what}{more}"
    return [Problem(message, f"Linear regions are of networks with {', '.join(KINKS)}.", first.mark)]


def kinks(graph: Graph) -> list[LayerNode]:
    """Return the activations with kinks, in execution order."""
    return [node for node in graph.nodes if node.kind in KINKS]


def cuts(graph: Graph, inputs: int) -> list[tuple[int, int]]:
    """Return how often each of these activations cuts a region, once for each kink of a unit, and its dimensions.

    Where the inputs move in `inputs` dimensions, a value moves in no more, in no more than it has numbers, and in no
    more than what it is made of: few behind a narrow layer, unless a shortcut goes around that.
    """
    dimensions = {name: min(inputs, shape.count) for name, shape in graph.inputs.items()}
    found = []
    for node in graph.nodes:
        arriving = min(inputs, sum(dimensions[name] for name in node.inputs))
        dimensions[node.name] = min(arriving, node.shape.count)
        if node.kind in KINKS:
            found.append((node.arriving[0].count * len(levels_of(node)), arriving))
    return found


def before_kinks(
    network: fx.GraphModule, graph: Graph, inputs_of: Callable[[Array], Sequence[Tensor]]
) -> Iterator[Callable[[Array], Array]]:
    """Yield, for each activation with kinks, a function from points to the values before it, minus its kinks.

    Arguments:
        network: in evaluation.
        inputs_of: from points (n, d) to the inputs of the network, batch first.
    """
    for index in range(len(kinks(graph))):
        yield lambda points, index=index: recorded(network, graph, inputs_of(points))[index]  # type: ignore[misc]


def recorded(network: fx.GraphModule, graph: Graph, inputs: Sequence[Tensor]) -> list[Array]:
    """Return the values before each activation with kinks (n, units), minus its kinks."""
    levels = {node.name: levels_of(node) for node in kinks(graph)}
    found: list[Array] = []

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            if n.meta.get("node") in levels:
                (x, *_), _ = self.fetch_args_kwargs_from_env(n)
                flat = x.flatten(1)
                found.append(torch.cat([flat - level for level in levels[n.meta["node"]]], 1).numpy(force=True))
            return super().run_node(n)

    with torch.no_grad():
        Recorder(network).run(*inputs)
    return found


def slopes(
    function: Callable[[Sequence[Tensor]], Tensor], inputs_of: Callable[[Tensor], Sequence[Tensor]], points: Tensor
) -> Tensor:
    """Return the derivative of each output of each point by the point, (n, outputs, d).

    A point must have no influence on the outputs of another, as in evaluation.
    """
    at = points.clone().requires_grad_()
    outputs = function(inputs_of(at)).flatten(1)
    rows = [torch.autograd.grad(outputs[:, k].sum(), at, retain_graph=True)[0] for k in range(outputs.shape[1])]
    return torch.stack(rows, 1).detach()
