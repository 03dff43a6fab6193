"""Which class a network gives each point of the plane, and the boundaries between classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...errors import Problem
from ...lazy import torch
from ...spec import objective_of
from ...spec.analyses import Analysis, Words
from .. import input_plane
from ..measures import boundaries
from ..measures.classifier import KINDS, above_or_largest, classes_of
from ..result import Heat, Mark, Panel, Points, Result

if TYPE_CHECKING:
    from torch import Tensor

    from ..input_plane import InputPlane
    from ..subject import Subject

MOST_SHARES = 20
"""Most classes whose shares of the window are figures."""
MOST_SPOTS = 400
"""Most examples that are drawn."""


class DecisionRegions(Analysis):
    """Class map of a network in the plane, with the boundaries between classes and which way they run.

    The plane is that of two inputs, or the one through three examples. Each boundary between two points of the grid
    is halved to its place, and its normal is the gradient of the difference of the two outputs there. Figures:
    `classes` in the window, `share_K` of the window for each class, `directions` of the boundary, that is different
    normals, and `straight`, the share of its points that have their direction with another one: 1 where it is
    piecewise linear, near 0 where it is smooth everywhere.
    Books: with ReLUs the boundary is piecewise linear, with logistic units it is smooth.
    """

    kind: ClassVar[str] = "decision_regions"
    source: ClassVar[str] = "Ihler, course notes, chapter 6, example 6-4"
    example: ClassVar[str] = "dlx analyze decision_regions ihler/mlp-2-3-1"
    figures: ClassVar[tuple[str, ...]] = ("classes", "directions", "straight", "share_N")
    several: ClassVar[Literal["seeds", "networks", "no"]] = "no"

    low: float | list[float] | None = Field(None, description="lower corner of the window; null: by the data, or -3")
    high: float | list[float] | None = Field(None, description="upper corner of the window; null: by the data, or 3")
    grid: int = Field(200, le=5_000, ge=2, description="points on a side of the map")
    threshold: float | None = Field(
        None,
        description="one output above it is class 1; null: by the objective, without one 0, and 1/2 after a sigmoid",
    )

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no plane, and why outputs are no classes."""
        found, graph = input_plane.problems(subject.graph, self.low, self.high), subject.graph
        if not found and next(iter(graph.inputs.values())).count == 1:
            found.append(Problem("the network has one input, and a map is of two or more", "See `joints`."))
        if len(graph.outputs) != 1:
            found.append(Problem(f"the network has {len(graph.outputs)} outputs, and a map is of one"))
        elif graph.output_shape().rank != 1:
            found.append(Problem(f"outputs of the shape {graph.output_shape()} are no scores of classes"))
        return found

    def words(self, subject: Subject) -> Words:
        return {"N": range(min(max(2, subject.graph.output_shape()[0]), MOST_SHARES))}

    def run(self, subject: Subject) -> Result:
        """Map the classes on a grid, and find points of the boundary."""
        network, plane = subject.network().double(), input_plane.of_subject(subject, self.low, self.high)
        classify = self._classify(subject)

        def outputs_of(points: Tensor) -> Tensor:
            made: Tensor = network(*plane.inputs(points))
            return made

        points = torch.as_tensor(plane.grid(self.grid)).to(plane.basis)
        with torch.no_grad():
            outputs = outputs_of(points)
        classes = classify(outputs).numpy(force=True).reshape(self.grid, self.grid)
        counts = boundaries.distinct(
            boundaries.directions(outputs_of, *boundaries.crossings(outputs_of, points, self.grid, classify))
        )
        names = self._names(subject, max(2, outputs.shape[1]))
        shares = [float((classes == i).mean()) for i in range(len(names))]
        figures: dict[str, Any] = {"classes": sum(share > 0 for share in shares), "directions": len(counts)}
        if len(counts):
            figures["straight"] = float(counts[counts > 1].sum() / counts.sum())
        figures |= {f"share_{i}": share for i, share in enumerate(shares[:MOST_SHARES])}
        notes = ["the plane is that through three examples"] if plane.is_slice else []
        return Result(
            figures,
            self._panels(subject, plane, classes, outputs.numpy(force=True), names),
            (("class", "share of the window"), [list(pair) for pair in zip(names, shares, strict=True)]),
            tuple(notes),
        )

    def _classify(self, subject: Subject) -> Callable[[Tensor], Tensor]:
        """Return what gives the class of outputs: by the option, the objective, or the last layer."""
        if self.threshold is None and subject.has_data and objective_of(subject.experiment).kind in KINDS:
            return partial(classes_of, subject.supervised)
        last = subject.graph.by_name.get(next(iter(subject.graph.outputs.values())))
        usual = 0.5 if last is not None and last.kind == "sigmoid" else 0.0
        return partial(above_or_largest, threshold=usual if self.threshold is None else self.threshold)

    def _names(self, subject: Subject, count: int) -> list[str]:
        named = list(subject.class_names()) if subject.has_data else []
        return named if len(named) == count else [str(i) for i in range(count)]

    def _panels(
        self, subject: Subject, plane: InputPlane, classes: Any, outputs: Any, names: list[str]
    ) -> tuple[Panel, ...]:
        (x, y), (right, up) = plane.axes(self.grid), plane.titles
        marks: list[Mark] = [Heat(x, y, classes, classes=names, contours=True, label="class")]
        if plane.spots is not None and not plane.is_slice:
            marks.append(_spots(subject, plane, names))
        panels = [Panel("classes", right, up, tuple(marks))]
        if outputs.shape[1] == 1:
            values = outputs.reshape(self.grid, self.grid)
            panels.append(Panel("output", right, up, (Heat(x, y, values, contours=True, label="output"),)))
        return tuple(panels)


def _spots(subject: Subject, plane: InputPlane, names: list[str]) -> Points:
    """Return some examples, by class where their target is one."""
    assert plane.spots is not None
    batch, some = subject.examples(1000), plane.spots[:MOST_SPOTS]
    target = batch.fields[batch.names.targets[0]].numpy(force=True)[: len(some)] if batch.names.targets else None
    labels = None
    if target is not None and target.ndim == 1 and target.dtype.kind in "iu":
        labels = [names[i] for i in target]
    return Points("examples", some[:, 0], some[:, 1], labels)
