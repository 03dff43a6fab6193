"""The regions of the input in which a network of rectifiers is linear."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import DlxError, Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis
from .. import input_plane
from ..measures import cells, piecewise
from ..measures.over_seeds import over_seeds
from ..result import Heat, Lines, Panel, Points, Result

if TYPE_CHECKING:
    from torch import fx

    from ..input_plane import InputPlane
    from ..measures.cells import Array, Cells
    from ..subject import Subject

LARGEST_BOUND = 2**53
"""The largest bound that is told as a whole number, beside its logarithm."""
COLOURS = 10
"""Colours of a picture, which go by the numbers of regions: neighbours have different ones where so many suffice."""
OUTLINED = 100
"""Most regions that are outlined in a picture."""


class LinearRegions(Analysis):
    """Linear regions of a network of rectifiers, exactly: one for each pattern of active units in a window.

    The window of one or two inputs is cut layer by layer where the value before a unit's kink changes sign; values at
    corners say where. Networks of more inputs are looked at in the plane through three examples. Where there are more
    than `most` regions, patterns of `points` points are counted, a lower bound. Figures: `regions`, `exact`, `bound`
    (the most that as many units can make in the window: of one layer Zaslavsky's sum of C(D, j), of several the
    product over layers, Montufar 2017), `log10_bound` of all inputs. Equal units make one cut, so `regions` says what
    the bound cannot.
    Books: D units on one input make up to D + 1 regions; figure 3.8 has seven of three units on two inputs.
    """

    kind: ClassVar[str] = "linear_regions"
    source: ClassVar[str] = "Prince 2023, Understanding Deep Learning, sections 3.1, 3.4, 3.8 and 4.4"
    example: ClassVar[str] = "dlx analyze linear_regions udl/shallow-2-3-1"
    figures: ClassVar[tuple[str, ...]] = ("regions", "exact", "regions_low", "regions_high", "bound", "log10_bound")

    low: float | list[float] | None = Field(None, description="lower corner of the window; null: by the data, or -3")
    high: float | list[float] | None = Field(None, description="upper corner of the window; null: by the data, or 3")
    most: PositiveInt = Field(100_000, le=10_000_000, description="regions up to which they are counted exactly")
    points: PositiveInt = Field(
        20_000, le=10_000_000, description="points whose patterns are counted where there are more"
    )
    grid: PositiveInt = Field(300, le=5_000, description="points on a side of the picture")
    seeds: PositiveInt = Field(6, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return layers that are not piecewise linear, and why there is no window."""
        return [
            *piecewise.problems(subject.graph, subject.name),
            *input_plane.problems(subject.graph, self.low, self.high),
        ]

    def run(self, subject: Subject) -> Result:
        """Count the regions of each network; the picture is of the first."""
        plane = input_plane.of_subject(subject, self.low, self.high)
        found = [self._regions(network.double(), subject, plane) for network in subject.several(self.seeds)]
        counts, exact = [count for count, _ in found], all(whole is not None for _, whole in found)
        bounds = self._bounds(subject, plane)
        mean, low, high = over_seeds(counts)
        rows = [[i, count, "exact" if whole is not None else "patterns"] for i, (count, whole) in enumerate(found, 1)]
        figures: dict[str, Any] = {"regions": counts[0] if len(set(counts)) == 1 else float(mean), "exact": exact}
        if low is not None and high is not None:
            figures |= {"regions_low": float(low), "regions_high": float(high)}
        return Result(
            figures | bounds,
            self._panels(subject, plane, found[0][1]),
            (("network", "regions", "counted"), rows),
            notes=tuple(self._notes(plane, exact)),
            seeds=len(counts),
        )

    def _regions(self, network: fx.GraphModule, subject: Subject, plane: InputPlane) -> tuple[int, Cells | None]:
        """Return the number of regions, with the regions themselves where there are not too many."""
        graph = subject.graph
        layers = piecewise.before_kinks(network, graph, plane.inputs)
        try:
            found = cells.divide(cells.window(plane.low, plane.high), layers, self.most)
        except cells.TooManyCells:
            points = np.random.default_rng(0).uniform(plane.low, plane.high, (self.points, len(plane.low)))
            return cells.patterns(piecewise.recorded(network, graph, plane.inputs(points))), None
        _must_be_linear(network, plane, found)
        return len(found), found

    def _bounds(self, subject: Subject, plane: InputPlane) -> dict[str, Any]:
        graph, (shape,) = subject.graph, subject.graph.inputs.values()
        here = cells.most_regions(piecewise.cuts(graph, len(plane.low)))
        known = {"bound": here} if here < LARGEST_BOUND else {}
        return {**known, "log10_bound": log10(cells.most_regions(piecewise.cuts(graph, shape.count)))}

    def _notes(self, plane: InputPlane, exact: bool) -> list[str]:
        found = []
        if plane.is_slice:
            found.append(
                "the window is the plane through three examples: `bound` is of planes, `log10_bound` of all inputs"
            )
        if not exact:
            found.append(
                f"there are more than {self.most:,} regions: {self.points:,} points have so many patterns of active "
                "units, a lower bound"
            )
        return found

    def _panels(self, subject: Subject, plane: InputPlane, found: Cells | None) -> tuple[Panel, ...]:
        network = next(subject.several(1)).double()
        if found is None:
            return ()
        if len(plane.low) == 1:
            return (line_panel(network, plane, found),)
        numbers = _cell_of(network, subject, plane, found, plane.grid(self.grid)).reshape(self.grid, self.grid)
        chosen = cells.numbers(found, COLOURS)
        names = [str(i + 1) for i in range(int(chosen.max()) + 1)]
        x, y = plane.axes(self.grid)
        regions = Heat(x, y, chosen[numbers], classes=names, contours=len(found) <= OUTLINED, label="region")
        return (Panel(f"{len(found):,} linear regions", plane.titles[0], plane.titles[1], (regions,)),)


def line_panel(network: fx.GraphModule, plane: InputPlane, found: Cells) -> Panel:
    """Return the outputs of a network of one input, with the ends of its regions."""
    x = np.unique(found.corners[:, 0])
    with torch.no_grad():
        outputs = network(*plane.inputs(x[:, None])).flatten(1).numpy(force=True)
    several = outputs.shape[1] > 1
    lines = [Lines(f"output {i + 1}" if several else "output", x, y) for i, y in enumerate(outputs.T[:COLOURS])]
    ends = Points("ends of regions", x[1:-1], outputs[1:-1, 0])
    return Panel(f"{len(found):,} linear regions", plane.titles[0], "output", (*lines, ends))


def _must_be_linear(network: fx.GraphModule, plane: InputPlane, found: Cells) -> None:
    """DlxError where the network is not linear within the regions: some layer is not what its kind says."""
    with torch.no_grad():
        at_corners = network(*plane.inputs(found.corners)).flatten(1).numpy(force=True)
        at_centres = network(*plane.inputs(found.centres)).flatten(1).numpy(force=True)
    means = np.add.reduceat(at_corners, found.starts[:-1]) / np.diff(found.starts)[:, None]
    if float(np.abs(means - at_centres).max()) > 1e-6 * float(np.abs(at_corners).max()):
        raise DlxError("the network is not linear between the kinks of its activations")


def _cell_of(network: fx.GraphModule, subject: Subject, plane: InputPlane, found: Cells, points: Array) -> Any:
    """Return the number of the region that each point is in, by its pattern of active units (n,)."""

    def patterns(at: Array) -> Any:
        values = piecewise.recorded(network, subject.graph, plane.inputs(at))
        packed = np.packbits(np.concatenate([each > 0 for each in values], 1), axis=1)
        return np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").ravel()

    order = {row.tobytes(): i for i, row in enumerate(patterns(found.centres))}
    return np.array([order.get(row.tobytes(), 0) for row in patterns(points)])
