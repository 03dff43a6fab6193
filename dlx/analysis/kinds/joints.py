"""Joints and slopes of a network of one input."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from ...errors import DlxError, Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis, Words
from .. import input_plane
from ..measures import cells, piecewise
from ..result import Lines, Panel, Points, Result

if TYPE_CHECKING:
    from torch import fx

    from ..input_plane import InputPlane
    from ..measures.cells import Array, Cells
    from ..subject import Subject

SAME = 1e-9
"""Slopes that differ by less than this share of the largest one are one."""
MOST_UNITS = 10
"""Most hidden units that are drawn."""


class Joints(Analysis):
    """Where the output of a network of one input changes its slope, and the slopes between, from left to right.

    The output is a chain of straight pieces; where a unit starts or stops to be active, two of them meet. Exact, by
    the corners of the regions. Figures: `joints` (how many), `joint_1`, `joint_2`, ..., `slope_1` (left of the first
    joint), `slope_2`, ...; slopes of a second output are `output_2_slope_1`.
    Books: figure 3.3 has joints at x = 0.5, 1 and 11/7, and slopes -0.462, -0.982, 0.188 and 0.65.
    """

    kind: ClassVar[str] = "joints"
    source: ClassVar[str] = (
        "Prince 2023, Understanding Deep Learning, section 3.1.1, figure 3.3, problems 3.3 and 3.9"
    )
    example: ClassVar[str] = "dlx analyze joints udl/shallow-1-3-1 --set low=0 --set high=2"
    figures: ClassVar[tuple[str, ...]] = ("joints", "joint_JOINT", "slope_N", "output_OUTPUT_slope_N")
    several: ClassVar[Literal["seeds", "networks", "no"]] = "no"

    low: float | None = Field(None, description="lower end of the input; null: by the data, or -3")
    high: float | None = Field(None, description="upper end of the input; null: by the data, or 3")
    most: PositiveInt = Field(10_000, le=10_000_000, description="joints up to which they are looked for")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return layers that are not piecewise linear, and more inputs than one."""
        return [
            *piecewise.problems(subject.graph, subject.name),
            *input_plane.problems(subject.graph, self.low, self.high, most=1),
        ]

    def words(self, subject: Subject) -> Words:
        graph = subject.graph
        most = min(cells.most_regions(piecewise.cuts(graph, 1)), self.most + 1)
        outputs = graph.output_shape().count
        return {"JOINT": range(1, most), "N": range(1, most + 1), "OUTPUT": range(2, outputs + 1)}

    def run(self, subject: Subject) -> Result:
        """Find the joints between the ends of the window."""
        network = subject.network().double()
        plane = input_plane.of_subject(subject, self.low, self.high)
        layers = piecewise.before_kinks(network, subject.graph, plane.inputs)
        try:
            found = cells.divide(cells.window(plane.low, plane.high), layers, self.most)
        except cells.TooManyCells:
            message = f"{subject.name} has more than {self.most:,} joints from {plane.low[0]:g} to {plane.high[0]:g}"
            raise DlxError(message, hint="Look at a narrower window, or at more: `--set most=...`.") from None
        at, slopes = _joints(network, plane, found)
        figures: dict[str, Any] = {"joints": len(at)}
        figures |= {f"joint_{i}": float(x) for i, x in enumerate(at, 1)}
        for output, column in enumerate(slopes.T, 1):
            of = "" if output == 1 else f"output_{output}_"
            figures |= {f"{of}slope_{i}": float(slope) for i, slope in enumerate(column, 1)}
        ends = [plane.low[0], *at, plane.high[0]]
        rows = [[*pair, *map(float, each)] for pair, each in zip(pairwise(ends), slopes, strict=True)]
        titles = ["from", "to", *(f"slope of output {i + 1}" if i else "slope" for i in range(slopes.shape[1]))]
        return Result(figures, self._panels(network, subject, plane, ends), (titles, rows))

    def _panels(
        self, network: fx.GraphModule, subject: Subject, plane: InputPlane, ends: list[float]
    ) -> tuple[Panel, ...]:
        x = np.array(ends)
        with torch.no_grad():
            outputs = network(*plane.inputs(x[:, None])).flatten(1).numpy(force=True)
        several = outputs.shape[1] > 1
        lines = [Lines(f"output {i + 1}" if several else "output", x, y) for i, y in enumerate(outputs.T)]
        joints = Points("joints", np.tile(x[1:-1], outputs.shape[1]), outputs[1:-1].T.ravel())
        panels = [Panel("output", plane.titles[0], "output", (*lines, joints))]
        before = piecewise.recorded(network, subject.graph, plane.inputs(x[:, None]))
        if before and before[0].shape[1] <= MOST_UNITS:
            units = tuple(Lines(f"unit {i + 1}", x, y) for i, y in enumerate(before[0].T))
            panels.append(Panel("hidden units before the activation", plane.titles[0], "value", units))
        return tuple(panels)


def _joints(network: fx.GraphModule, plane: InputPlane, found: Cells) -> tuple[list[float], Array]:
    """Return where the slope of an output changes, and the slopes (joints + 1, outputs) from left to right."""
    order = np.argsort(found.centres[:, 0])
    points = torch.as_tensor(found.centres[order]).to(plane.basis)
    slopes = piecewise.slopes(lambda inputs: network(*inputs), plane.inputs, points)[..., 0].numpy(force=True)
    starts = np.array([polygon.min() for polygon in found.polygons])[order]
    changes = np.abs(np.diff(slopes, axis=0)).max(1) > SAME * np.abs(slopes).max()
    first = np.concatenate([[True], changes])
    return [float(x) for x in starts[first][1:]], slopes[first]
