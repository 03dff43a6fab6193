"""The loss over two weights, with the path that a training takes on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis, Words
from .. import named_weight
from ..loss_at import descent, in_float64, loss_at, problems
from ..measures.weight_space import restored
from ..named_weight import Weight
from ..result import Heat, Lines, Mark, Panel, Points, Result, scale_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import fx

    from ..subject import Subject

    Array = npt.NDArray[np.float64]

AROUND = 0.5
"""Share of the path's extent by which the window is wider on each side."""


class LossSurface(Analysis):
    """Heat map of the loss over two weights, the others as they are, with the path of a training from its start.

    Of a spec with `train` the training is followed update by update; of a run its end is marked. The loss is that of
    the whole part, in float64, without penalties. Figures: `start_loss` and `end_loss` on the path, `updates`,
    `start_0`, `start_1`, `end_0`, `end_1` (the two weights), `lowest` (least loss of the map) with `lowest_0` and
    `lowest_1`.
    Books: the surface of a linear regression is a bowl; gradient descent goes down its side and then along its floor.
    """

    kind: ClassVar[str] = "loss_surface"
    source: ClassVar[str] = "Prince 2023, Understanding Deep Learning, section 2.2, figures 2.3 and 2.4"
    example: ClassVar[str] = "dlx analyze loss_surface udl/figure-2-3"
    figures: ClassVar[tuple[str, ...]] = (
        "start_loss",
        "end_loss",
        "updates",
        "lowest",
        "start_N",
        "end_N",
        "lowest_N",
    )
    several: ClassVar[Literal["seeds", "networks", "no"]] = "no"
    trains: ClassVar[bool] = True

    by: list[str] = Field(
        [], max_length=2, description="two weights, as `linear_1/bias[0]`; empty: those of a network that has two"
    )
    low: list[float] | None = Field(None, min_length=2, max_length=2, description="lower corner; null: by the path")
    high: list[float] | None = Field(None, min_length=2, max_length=2, description="upper corner; null: by the path")
    grid: int = Field(61, le=1_000, ge=2, description="points on a side of the map")
    part: str = Field("train", description="part of the data whose loss it is")
    updates: int | None = Field(None, ge=0, description="updates that are followed; null: all, 0: none")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no loss, and names that are no weights."""
        found = problems(subject)
        if found:
            return found
        if not self.by and subject.graph.params != 2:
            message = f"{subject.name} has {subject.graph.params:,} weights, and a map is over two"
            return [Problem(message, 'Name them: `--set \'by=["linear_1/bias[0]", "linear_1/weight[0,0]"]\'`.')]
        if len(self.by) == 1:
            return [Problem(f"`by` names {self.by[0]} alone, and a map is over two weights")]
        each = [named_weight.find(subject.graph, name) for name in self.by]
        return [one for one in each if isinstance(one, Problem)]

    def words(self, subject: Subject) -> Words:
        return {"N": range(2)}

    def run(self, subject: Subject) -> Result:
        """Follow the training, and map the loss around its path."""
        network, weights = subject.network().double(), self._weights(subject)
        path = self._path(subject, weights) or [_values(network, weights)]
        at = np.array(path)
        _set(network, weights, at[-1])
        part = subject.part(self.part)
        loss = loss_at(subject, network, in_float64(part.batch(part.fields)))
        axes = [np.linspace(low, high, self.grid) for low, high in self._window(at)]
        with torch.no_grad(), restored([network.get_parameter(one.target) for one in weights]):
            losses = [_loss_with(network, weights, loss, point) for point in (at[0], at[-1])]
            table = np.array([[_loss_with(network, weights, loss, (x, y)) for x in axes[0]] for y in axes[1]])
        row, column = np.unravel_index(np.nanargmin(table), table.shape)
        figures: dict[str, Any] = {"start_loss": losses[0], "end_loss": losses[1], "updates": len(path) - 1}
        for name, point in (("start", at[0]), ("end", at[-1]), ("lowest", (axes[0][column], axes[1][row]))):
            figures |= {f"{name}_{i}": float(value) for i, value in enumerate(point)}
        figures["lowest"] = float(table[row, column])
        marks: list[Mark] = [Heat(axes[0], axes[1], table, contours=True, label="loss", scale=scale_of(table))]
        if len(path) > 1:
            marks.append(Lines("path", at[:, 0], at[:, 1]))
        marks.append(Points("end", at[-1:, 0], at[-1:, 1]))
        names = [one.name for one in weights]
        rows = [[step, *map(float, point)] for step, point in enumerate(path)]
        return Result(figures, (Panel("loss", names[0], names[1], tuple(marks)),), (("update", *names), rows))

    def _weights(self, subject: Subject) -> list[Weight]:
        """Return the two weights by name, or all of a network that has two."""
        if not self.by:
            return list(named_weight.every(subject.graph))
        each = [named_weight.find(subject.graph, name) for name in self.by]
        return [one for one in each if isinstance(one, Weight)]

    def _path(self, subject: Subject, weights: Sequence[Weight]) -> list[tuple[float, float]]:
        """Return the two weights before and after each update of the training of a spec."""
        if subject.trained or subject.experiment.train is None or self.updates == 0:
            return []
        found = []
        for step, network in enumerate(descent(subject)):
            found.append(_values(network, weights))
            if self.updates is not None and step >= self.updates:
                break
        return found

    def _window(self, path: Array) -> list[tuple[float, float]]:
        low, high = path.min(0), path.max(0)
        room = np.where(high > low, AROUND * (high - low), np.maximum(1.0, np.abs(high)))
        low, high = (
            np.asarray(corner) if corner is not None else end
            for corner, end in ((self.low, low - room), (self.high, high + room))
        )
        return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _loss_with(
    network: fx.GraphModule, weights: Sequence[Weight], loss: Any, point: Sequence[float] | Array
) -> float:
    _set(network, weights, point)
    return float(loss())


def _set(network: fx.GraphModule, weights: Sequence[Weight], point: Sequence[float] | Array) -> None:
    with torch.no_grad():
        for one, value in zip(weights, point, strict=True):
            network.get_parameter(one.target).view(-1)[one.place] = float(value)


def _values(network: fx.GraphModule, weights: Sequence[Weight]) -> tuple[float, float]:
    first, second = (float(network.get_parameter(one.target).view(-1)[one.place].detach()) for one in weights)
    return first, second
