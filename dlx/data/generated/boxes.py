"""Bounding boxes of generated figures, in a grid of cells as YOLO has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import np

if TYPE_CHECKING:
    from ..base import Floats
    from ..preprocess.sums import Doubles
    from .shapes import Figures

MOST_OVERLAP = 0.3
"""Intersection over union with a later figure above which a figure is left out."""


def bounding_boxes(figures: Figures, half: tuple[float, float, float], tip: float) -> Doubles:
    """Return left, top, right and bottom (n, most, 4) of each figure, in pixels from the centre of the first pixel.

    `half` is half the width of a figure of radius 1, by kind; `tip` is the distance from the centre of a triangle to
    its tip, twice that to its base.
    """
    wide = np.asarray(half)[figures.kind] * figures.radius
    triangle = figures.kind == 2
    up = np.where(triangle, tip * figures.radius, wide)
    down = np.where(triangle, tip * figures.radius / 2, wide)
    return np.stack([figures.column - wide, figures.row - up, figures.column + wide, figures.row + down], -1)


def without_overlaps(boxes: Doubles, present: np.ndarray, size: int, grid: int) -> np.ndarray:
    """Return the mask of `present` figures (n, most) that no later one hides or shares a cell with."""
    cells = cells_of(boxes, size, grid)
    visible = present.copy()
    for i in reversed(range(present.shape[1])):
        for later in range(i + 1, present.shape[1]):
            near = (overlap(boxes[:, i], boxes[:, later]) > MOST_OVERLAP) | (cells[:, i] == cells[:, later]).all(1)
            visible[:, i] &= ~(near & visible[:, later])
    return visible


def cells_of(boxes: Doubles, size: int, grid: int) -> np.ndarray:
    """Return row and column (n, most, 2) of the grid cell that contains the centre of each box."""
    middles = np.stack([boxes[..., 1] + boxes[..., 3], boxes[..., 0] + boxes[..., 2]], -1) / 2 + 0.5
    return np.clip((middles / size * grid).astype(np.int64), 0, grid - 1)


def overlap(a: Doubles, b: Doubles) -> Doubles:
    """Return the intersection over union of boxes (n, 4)."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = np.clip(sides, 0, None).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (a, b)]
    shared: Doubles = both / (areas[0] + areas[1] - both)
    return shared


def grid_targets(boxes: Doubles, figures: Figures, size: int, grid: int, kinds: int) -> Floats:
    """Return the targets (n, 5 + kinds, grid, grid) that `Shapes` describes."""
    n, most = figures.kind.shape
    y = np.zeros((n, 5 + kinds, grid, grid), np.float32)
    cells = cells_of(boxes, size, grid)
    edges = (boxes + 0.5) / size  # a pixel reaches half a pixel to both sides of its middle
    for i in range(most):
        (at,) = np.nonzero(figures.present[:, i])
        row, column = cells[at, i].T
        left, top, right, bottom = edges[at, i].T
        y[at, 0, row, column] = 1
        y[at, 1, row, column] = (left + right) / 2 * grid - column
        y[at, 2, row, column] = (top + bottom) / 2 * grid - row
        y[at, 3, row, column] = right - left
        y[at, 4, row, column] = bottom - top
        y[at, 5 + figures.kind[at, i], row, column] = 1
    return y
