"""Units of one network put into the order of another's, which leaves what it computes as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...graph import Graph
from ...layers.activation import Pointwise
from ...lazy import np, torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

WEIGHTED = ("linear", "conv")
"""Kinds of layers whose outputs are units that can change places."""
SAME_FOR_ALL = frozenset({
    "max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "adaptive_avg_pool", "adaptive_max_pool", "dropout",
    "spatial_dropout", "alpha_dropout", "identity",
})  # fmt: skip
"""Kinds that do the same to each channel."""
MOST_ROUNDS = 50


class Axis(NamedTuple):
    """An axis of a tensor along which units lie, each with `repeat` entries in a row."""

    tensor: str
    axis: int
    repeat: int = 1


def groups(graph: Graph) -> list[list[Axis]]:
    """Return, for each hidden layer of a chain, the axes along which its units lie; by torch's names of tensors.

    Raises:
        ValueError: its message says why units cannot be matched; the network is no chain of layers that are known.
    """
    found: list[list[Axis]] = []
    before, opened, repeat = next(iter(graph.inputs)), False, 1
    for node in graph.nodes:
        if list(node.inputs) != [before]:
            raise ValueError(f"`{node.name}` is no layer of a chain")
        name, before = node.name.replace("/", "."), node.name
        if node.kind in WEIGHTED:
            if getattr(node.layer, "groups", 1) != 1:
                raise ValueError(f"`{node.name}` has groups of channels")
            if opened:
                found[-1].append(Axis(f"{name}.weight", 1, repeat))
            found.append([Axis(f"{name}.{each}", 0) for each in node.plan.weights])
            opened, repeat = True, 1
        elif node.kind == "flatten":
            repeat *= node.arriving[0].count // node.arriving[0].channels
        elif node.kind == "batch_norm":
            names = ("weight", "bias", "running_mean", "running_var")
            found[-1] += [Axis(f"{name}.{each}", 0) for each in names] if opened else []
        elif not (isinstance(node.layer, Pointwise) and not node.plan.weights) and node.kind not in SAME_FOR_ALL:
            raise ValueError(f"`{node.name}` ({node.kind}) is none of the layers whose units are matched")
    return found[:-1]  # the last ones are outputs, which stay in their order


def matched(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], axes: Sequence[Sequence[Axis]]
) -> dict[str, Tensor]:
    """Return the tensors of the second network with their units in the order that is closest to the first.

    Layer by layer the order is the one with the largest sum of products of weights, until none changes any more.
    Source: Ainsworth et al. 2023, arXiv:2209.04836, algorithm 1.
    """
    from scipy.optimize import linear_sum_assignment

    found = {name: tensor.clone() for name, tensor in second.items()}
    for _ in range(MOST_ROUNDS):
        is_new = False
        for group in axes:
            present = [one for one in group if one.tensor in found]
            likeness = sum(_rows(first[one.tensor], one) @ _rows(found[one.tensor], one).T for one in present)
            _, order = linear_sum_assignment(likeness, maximize=True)
            if (order != np.arange(len(order))).any():
                is_new = True
                for one in present:
                    found[one.tensor] = _ordered(found[one.tensor], one, order)
        if not is_new:
            break
    return found


def _rows(tensor: Tensor, one: Axis) -> npt.NDArray[np.float64]:
    """Return all that belongs to each unit as rows (units, values)."""
    moved = tensor.detach().double().movedim(one.axis, 0)
    return moved.reshape(len(moved) // one.repeat, -1).numpy(force=True)


def _ordered(tensor: Tensor, one: Axis, order: npt.NDArray[np.int64]) -> Tensor:
    """Return a tensor with its units in another order."""
    places = (np.asarray(order)[:, None] * one.repeat + np.arange(one.repeat)).ravel()
    return tensor.index_select(one.axis, torch.as_tensor(places, device=tensor.device))
