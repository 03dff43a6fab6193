"""The inputs of a network as points of a line or a plane: all of one or two inputs, or a plane through examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Problem
from ..graph import Graph
from ..lazy import np, torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from .subject import Subject

    Array = npt.NDArray[np.float64]

USUAL = 3.0
"""End of a window in units of the inputs, where there is no data."""
AROUND = 0.1
"""Share of the range of the data by which a window is wider on each side."""
Corner = float | list[float] | None


@dataclass(frozen=True)
class InputPlane:
    """Points (n, d), d of 1 or 2, and the inputs of the network that they stand for.

    Attributes:
        low, high: corners of the window, d numbers each.
        titles: of the axes.
        origin, basis: input = origin + point @ basis, (size,) and (d, size).
        shape: of an input.
        spots: examples of the data that lie in the plane, (n, d).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    titles: tuple[str, ...]
    origin: Tensor
    basis: Tensor
    shape: tuple[int, ...]
    is_slice: bool
    spots: Array | None = None

    def inputs(self, points: Any) -> list[Tensor]:
        """Return the inputs of the network at points, in float64, batch first."""
        at = torch.as_tensor(points).to(self.basis)
        return [(self.origin + at @ self.basis).reshape(-1, *self.shape)]

    def axes(self, steps: int) -> list[Array]:
        """Return `steps` even values along each axis."""
        return [np.linspace(low, high, steps) for low, high in zip(self.low, self.high, strict=True)]

    def grid(self, steps: int) -> Array:
        """Return points (steps^d, d), the first axis quickest."""
        return np.stack([each.ravel() for each in np.meshgrid(*self.axes(steps))], 1)


def problems(graph: Graph, low: Corner, high: Corner, most: int = 2) -> list[Problem]:
    """Return why a network has no such plane, and mistakes of the corners of a window."""
    if len(graph.inputs) != 1:
        names = ", ".join(f"`{name}`" for name in graph.inputs)
        return [Problem(f"the network takes {len(graph.inputs)} inputs, {names}, and a picture is of one")]
    ((name, shape),) = graph.inputs.items()
    if shape.dtype != "float":
        return [Problem(f"`{name}` takes whole numbers, between which there is nothing")]
    axes, found = min(shape.count, 2), list[Problem]()
    if most == 1 and shape.count > 1:
        found.append(Problem(f"`{name}` has {shape.count} values, and this is of networks of one"))
    for corner, option in ((low, "low"), (high, "high")):
        if isinstance(corner, list) and len(corner) != axes:
            hint = "Give one number for all axes, or one for each."
            found.append(Problem(f"`{option}` has {len(corner)} numbers, and the window has {axes} axes", hint))
    if not found and low is not None and high is not None:
        pairs = zip(_each(low, axes), _each(high, axes), strict=True)
        wrong = dict.fromkeys((a, b) for a, b in pairs if not a < b)
        found += [Problem(f"`low: {a}` is not below `high: {b}`", "Say the window from below.") for a, b in wrong]
    return found


def of_subject(subject: Subject, low: Corner, high: Corner, seed: int = 0) -> InputPlane:
    """Return the inputs of the network: a line or a plane, or the plane through three examples where they are more.

    Without `low` and `high` the window holds all of the data, a slice its three examples.
    """
    ((name, shape),) = subject.graph.inputs.items()
    many = shape.count > 2
    axes = min(shape.count, 2)
    values = _examples(subject, seed) if subject.has_data or many else None
    spots: Array | None
    titles: tuple[str, ...]
    if many:
        assert values is not None
        origin, second, third = values[:3]
        basis, spots = torch.stack([second - origin, third - origin]), np.array([[0, 0], [1, 0], [0, 1]], float)
        ends, titles = ([-0.5] * 2, [1.5] * 2), ("towards a second example", "towards a third example")
    else:
        origin, basis = torch.zeros(axes).double(), torch.eye(axes).double()
        spots = None if values is None else values.numpy(force=True)
        ends = _around(spots) if spots is not None else ([-USUAL] * axes, [USUAL] * axes)
        titles = (name,) if axes == 1 else (f"first value of {name}", f"second value of {name}")
    lows, highs = (
        tuple(_each(corner, axes) if corner is not None else end)
        for corner, end in zip((low, high), ends, strict=True)
    )
    device = subject.device
    return InputPlane(lows, highs, titles, origin.to(device), basis.to(device), tuple(shape), many, spots)


def _examples(subject: Subject, seed: int) -> Tensor:
    """Return inputs of examples as rows, three at least."""
    batch = subject.examples(1000, seed)
    return batch.inputs[0].flatten(1).double()


def _each(corner: Corner, axes: int) -> Sequence[float]:
    assert corner is not None
    return corner if isinstance(corner, list) else [corner] * axes


def _around(spots: Array) -> tuple[list[float], list[float]]:
    low, high = spots.min(0), spots.max(0)
    room = np.where(high > low, AROUND * (high - low), 1.0)
    return (low - room).tolist(), (high + room).tolist()
