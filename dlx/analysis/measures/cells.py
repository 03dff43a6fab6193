"""Cells of an interval or a window of the plane in which a piecewise linear network is linear, exactly.

Within a cell the values before an activation are linear, so those at its corners say where they change sign, and a
cell is cut along that line. Layer by layer this gives one cell for each pattern of active units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ZERO = 1e-9
"""Values below this share of a unit's largest one count as 0, so that a line along an edge cuts nothing."""


class TooManyCells(Exception):  # noqa: N818 - an answer, and no mistake of the program
    """Raised where there are more cells than are asked for at most."""


@dataclass(frozen=True)
class Cells:
    """Convex cells, one behind the other.

    Attributes:
        corners: of all cells (n, d), d of 1 or 2; those of a polygon in order around it.
        starts: index of the first corner of each cell, and n at the end (cells + 1,).
    """

    corners: Array
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def polygons(self) -> list[Array]:
        """The corners of each cell, (k, d) each."""
        return np.split(self.corners, self.starts[1:-1])

    @property
    def centres(self) -> Array:
        """The mean of the corners of each cell, a point inside, (cells, d)."""
        return np.add.reduceat(self.corners, self.starts[:-1]) / np.diff(self.starts)[:, None]

    @property
    def sizes(self) -> Array:
        """Length or area of each cell (cells,)."""
        return np.array([_size(polygon) for polygon in self.polygons])


def window(low: Sequence[float], high: Sequence[float]) -> Cells:
    """Return one cell: the interval or the rectangle between two corners."""
    if len(low) == 1:
        return _joined([np.array([[low[0]], [high[0]]])])
    (x0, y0), (x1, y1) = low, high
    return _joined([np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)])


def divide(cells: Cells, values_at: Iterable[Callable[[Array], Array]], most: int) -> Cells:
    """Cut cells where functions change sign, one layer after the other.

    Arguments:
        cells: the cells to cut.
        values_at: for each layer a function from points (n, d) to values (n, units), linear within every cell that
            the layers before it leave.
        most: number of cells at most.

    Raises:
        TooManyCells: there are more.
    """
    for layer in values_at:
        values = np.asarray(layer(cells.corners), float)
        polygons: list[Array] = []
        width, bound = cells.corners.shape[1], ZERO * np.abs(values).max(0, initial=0)
        for corners, here in zip(cells.polygons, np.split(values, cells.starts[1:-1]), strict=True):
            polygons += [piece[:, :width] for piece in _cut(np.concatenate([corners, here], 1), bound)]
            if len(polygons) > most:
                raise TooManyCells
        cells = _joined(polygons)
    return cells


def _cut(cell: Array, bounds: Array) -> list[Array]:
    """Cut a cell along the zeros of its last columns, which are linear in it, and 0 within the bound of each."""
    finished, pending = [], [(cell, 0)]
    first = cell.shape[1] - len(bounds)
    while pending:
        piece, unit = pending.pop()
        values, bound = piece[:, first + unit :], bounds[unit:]
        crossing = np.flatnonzero((values.min(0) < -bound) & (values.max(0) > bound))
        if not len(crossing):
            finished.append(piece)
            continue
        at = unit + int(crossing[0])
        pending += [(half, at + 1) for half in _halves(piece, first + at, float(bounds[at]))]
    return finished


def _halves(cell: Array, column: int, bound: float) -> tuple[Array, Array]:
    """Return the parts of a cell in which a column is at most 0, and at least 0."""
    values = cell[:, column]
    side = np.where(np.abs(values) <= bound, 0, np.sign(values)).astype(int)
    below: list[Array] = []
    above: list[Array] = []
    count = len(cell)
    for i in range(count if count > 2 else 1):
        j = (i + 1) % count
        for each, sign in ((below, -1), (above, 1)):
            if side[i] * sign >= 0:
                each.append(cell[i])
        if side[i] * side[j] < 0:
            share = values[i] / (values[i] - values[j])
            between = cell[i] + share * (cell[j] - cell[i])
            between[column] = 0
            below.append(between)
            above.append(between)
    if count == 2:  # an interval has no way back to its first end
        (below if side[1] < 0 else above).append(cell[1])
    return np.array(below), np.array(above)


def _joined(polygons: Sequence[Array]) -> Cells:
    starts = np.cumsum([0, *(len(polygon) for polygon in polygons)])
    return Cells(np.concatenate(polygons), starts)


def _size(polygon: Array) -> float:
    if polygon.shape[1] == 1:
        return float(abs(polygon[1, 0] - polygon[0, 0]))
    x, y = (polygon - polygon[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def most_regions(layers: Iterable[tuple[int, int]]) -> int:
    """Return the most linear regions that layers of rectifiers can make, each of (units, dimensions).

    One layer of D units cuts n dimensions into at most the sum of C(D, j) over j from 0 to n (Zaslavsky 1975; Prince
    2023, section 3.8). Each further layer multiplies by as much, in as many dimensions as those before it leave: of a
    chain the narrowest (Montufar 2017, "Notes on the number of linear regions of deep neural networks", theorem 2).
    """
    from math import comb, prod

    return prod(sum(comb(units, j) for j in range(n + 1)) for units, n in layers)


def patterns(values: Iterable[Any]) -> int:
    """Return how many patterns of signs points have, of the values before each activation (n, units)."""
    packed = np.concatenate([np.packbits(np.asarray(each) > 0, axis=1) for each in values], 1)
    return len(np.unique(packed, axis=0))


def numbers(cells: Cells, colours: int) -> npt.NDArray[np.int64]:
    """Return a number for each polygon (cells,), whose remainder by `colours` is not that of polygons beside it.

    Where there are at most as many polygons, they are counted through; where a polygon has too many beside it, some
    remainder comes twice.
    """
    if len(cells) <= colours:
        return np.arange(len(cells))
    at_corner: dict[tuple[float, ...], list[int]] = {}
    for cell, polygon in enumerate(cells.polygons):
        for corner in np.round(polygon, 9):
            at_corner.setdefault(tuple(corner), []).append(cell)
    beside: list[set[int]] = [set() for _ in range(len(cells))]
    for each in at_corner.values():
        for cell in each:
            beside[cell].update(each)
    found, used = np.full(len(cells), -1), [0] * colours
    for cell, others in enumerate(beside):
        taken = {int(found[other]) % colours for other in others if found[other] >= 0}
        colour = next((i for i in range(colours) if i not in taken), cell % colours)
        found[cell] = colour + colours * used[colour]
        used[colour] += 1
    return found
