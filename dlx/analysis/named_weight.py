"""One number among the weights of a network, by name: `linear_1/weight[0,3]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from ..errors import Problem, did_you_mean
from ..graph import Graph

NAME = re.compile(r"(?P<tensor>.+?)(\[(?P<index>[0-9, ]+)\])?")


class Weight(NamedTuple):
    """Its name, that of its tensor in torch, and its place in the tensor laid flat."""

    name: str
    target: str
    place: int


def tensors(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all learned tensors by name, `linear_1/weight`."""
    owned = (node for node in graph.nodes if node.home == node.name and not node.result)
    return {f"{node.name}/{name}": tuple(shape) for node in owned for name, shape in node.plan.weights.items()}


def every(graph: Graph) -> Iterator[Weight]:
    """Yield all weights of a small network."""
    for tensor, shape in tensors(graph).items():
        for place in range(prod(shape)):
            yield Weight(f"{tensor}[{place}]" if prod(shape) > 1 else tensor, _target(tensor), place)


def find(graph: Graph, name: str) -> Weight | Problem:
    """Return the weight of a name, or what is wrong with the name. A tensor of one value needs no index."""
    matched, known = NAME.fullmatch(name), tensors(graph)
    tensor = matched["tensor"] if matched else name
    if tensor not in known:
        return Problem(f"there is no weight `{tensor}`", did_you_mean(tensor, known, "the weights"))
    shape = known[tensor]
    if matched is None or matched["index"] is None:
        index = [0] * len(shape)
        if prod(shape) != 1:
            example = f"{tensor}[{','.join('0' * len(shape))}]"
            return Problem(f"`{tensor}` has {prod(shape):,} values, {shape}", f"Name one of them: `{example}`.")
    else:
        index = [int(each) for each in matched["index"].split(",")]
    if len(index) != len(shape) or any(i >= size for i, size in zip(index, shape, strict=True)):
        return Problem(f"`{name}` is outside of {tensor}, whose shape is {shape}", "Indices count from 0.")
    place = 0
    for i, size in zip(index, shape, strict=True):
        place = place * size + i
    return Weight(name, _target(tensor), place)


def _target(tensor: str) -> str:
    return tensor.replace("/", ".")
