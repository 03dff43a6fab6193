"""Boundaries between classes in the plane: points of them, and which way they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...lazy import np, torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Array = npt.NDArray[np.float64]
    Margins = Callable[[Tensor], Tensor]

HALVINGS = 45
"""Times that the way between two points is halved: 3e-14 of it is left."""
SAME = 1e-6
"""Directions that differ by less, in radians, are one."""


def crossings(outputs_of: Margins, points: Tensor, side: int, classes_of: Margins) -> tuple[Tensor, Tensor, Tensor]:
    """Return points where the class changes between neighbours of a grid (n, 2), and the two classes (n,) each.

    Arguments:
        outputs_of: from points (n, 2) to outputs (n, classes).
        points: of a grid (side * side, 2), the first axis quickest.
        classes_of: from outputs (n, classes) to the class of each (n,).
    """
    with torch.no_grad():
        grid = classes_of(outputs_of(points)).reshape(side, side)
        number = torch.arange(side * side).reshape(side, side)
        pairs = torch.cat(
            [
                torch.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1),
                torch.stack([number[:-1].ravel(), number[1:].ravel()], 1),
            ]
        )
        classes = grid.ravel().to(points.device)
        pairs = pairs[classes[pairs[:, 0]] != classes[pairs[:, 1]]]
        low, high = points[pairs[:, 0]], points[pairs[:, 1]]
        here, there = classes[pairs[:, 0]], classes[pairs[:, 1]]
        for _ in range(HALVINGS if len(pairs) else 0):
            middle = (low + high) / 2
            as_low = (classes_of(outputs_of(middle)) == here)[:, None]
            low, high = torch.where(as_low, middle, low), torch.where(as_low, high, middle)
    return (low + high) / 2, here, there


def directions(outputs_of: Margins, at: Tensor, here: Tensor, there: Tensor) -> Array:
    """Return the angle of the boundary's normal at points of it (n,), from 0 to pi: a line has no sides.

    The normal is the gradient of the difference of the outputs of the two classes that meet, of one output its own.
    """
    points = at.clone().requires_grad_()
    outputs = outputs_of(points)
    rows = torch.arange(len(points), device=points.device)
    margin = outputs[:, 0] if outputs.shape[1] == 1 else outputs[rows, here] - outputs[rows, there]
    (normal,) = torch.autograd.grad(margin.sum(), points)
    x, y = normal.numpy(force=True).T
    return np.asarray(np.arctan2(y, x) % np.pi)


def distinct(angles: Array) -> npt.NDArray[np.int64]:
    """Return how many points there are of each different direction, on the circle from 0 to pi."""
    if not len(angles):
        return np.zeros(0, int)
    ordered = np.sort(angles)
    first = np.concatenate([[0], np.flatnonzero(np.diff(ordered) > SAME) + 1])
    counts = np.diff([*first, len(ordered)])
    if len(counts) > 1 and ordered[0] + np.pi - ordered[-1] < SAME:
        counts = np.concatenate([[counts[0] + counts[-1]], counts[1:-1]])
    return np.asarray(counts)
