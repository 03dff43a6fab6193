"""How smooth the loss is along its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...spec.analyses import Analysis, Words
from ..loss_at import descent, loss_at, problems
from ..measures import curvature
from ..measures.norms import norms_by_batch
from ..measures.weight_space import trained_weights
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...data.batch import Batch
    from ..subject import Subject

LENGTHS = 8
"""Steps along a gradient, even from the shortest to the longest."""


class Smoothness(Analysis):
    """Range of the loss, change of the gradient and effective beta-smoothness along steps down the gradient.

    From weights w with gradient g the loss and its gradient are measured at w - r g for rates r from `rate` / 2 to
    `rate` * 4. Figures: `loss_range` (largest less smallest loss on the way), `gradient_change` (largest
    ||grad L(w - r g) - g||), `beta` (largest change over the distance r ||g||, the effective beta-smoothness) and
    `rate`; of a training of `updates` updates the means over those at which it is measured. Batch norms use the
    batch, as in training; other layers do as in evaluation. Of several runs the figures of the second end in `_2`.
    Books: batch normalisation makes all three smaller; the surface is smoother, so that larger rates work.
    """

    kind: ClassVar[str] = "smoothness"
    source: ClassVar[str] = "Santurkar et al. 2018, arXiv:1805.11604, figure 4; Prince 2023, section 11.4.1"
    example: ClassVar[str] = "dlx analyze smoothness digits/lenet --set updates=20"
    figures: ClassVar[tuple[str, ...]] = (
        "loss_range",
        "gradient_change",
        "beta",
        "rate",
        "loss_range_N",
        "gradient_change_N",
        "beta_N",
    )
    several: ClassVar[Literal["seeds", "networks", "no"]] = "networks"

    updates: NonNegativeInt = Field(
        0, description="updates of a training that are followed; 0: the weights as they are"
    )
    every: PositiveInt = Field(5, description="updates between two measurements")
    rate: PositiveFloat = Field(0.1, description="learning rate r, about which steps down the gradient are made")
    examples: PositiveInt = Field(256, description="examples whose mean loss it is, at most")
    part: str = Field("train", description="part of the data that they are from")

    def without_effect(self) -> dict[str, str]:
        return {} if self.updates else {"every": "without `updates` of a training that is followed"}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no loss of one network, and trainings of runs that have ended."""
        found = problems(subject)
        if self.updates and subject.trained:
            hint = "Leave `updates` out, or look at its spec."
            found.append(Problem(f"`updates: {self.updates}` follows a training, and {subject.name} has ended", hint))
        return found

    def words(self, subject: Subject) -> Words:
        return {"N": subject.numbers_of_others}

    def run(self, subject: Subject) -> Result:
        """Measure along the gradient, of each run or at several updates."""
        figures: dict[str, Any] = {}
        panels: list[list[Lines]] = [[], [], []]
        rows: list[list[Any]] = []
        for index, one in enumerate(subject.each):
            batch = one.examples(self.examples, part=self.part)
            found = [(step, self._along(network, one, batch)) for step, network in self._networks(one)]
            ending = f"_{index + 1}" if index else ""
            figures |= _figures([along for _, along in found], ending)
            for lines, made in zip(panels, _lines(found, one.name, self._rates()), strict=True):
                lines.append(made)
            rows += [[one.name, step, *_figures([along], "").values()] for step, along in found]
        x = "update" if self.updates else "learning rate"
        titles = ("loss along the gradient", "change of the gradient", "effective beta-smoothness")
        values = ("loss", "||difference of gradients||", "change / distance")
        shown = tuple(
            Panel(title, x, y, tuple(lines)) for title, y, lines in zip(titles, values, panels, strict=True)
        )
        table = (("network", "update", "loss range", "gradient change", "beta"), rows)
        return Result(figures | {"rate": self.rate}, shown, table)

    def _rates(self) -> list[float]:
        return [float(rate) for rate in self.rate * np.linspace(0.5, 4, LENGTHS)]

    def _networks(self, subject: Subject) -> Iterator[tuple[int, fx.GraphModule]]:
        """Yield the weights as they are, or those at several updates of a training."""
        if not self.updates:
            yield 0, subject.network()
            return
        for step, network in enumerate(descent(subject)):
            if step % self.every == 0:
                yield step, network
            if step >= self.updates:
                return

    def _along(self, network: fx.GraphModule, subject: Subject, batch: Batch) -> curvature.AlongGradient:
        with norms_by_batch(network):
            return curvature.along_gradient(loss_at(subject, network, batch), trained_weights(network), self._rates())


def _figures(found: list[curvature.AlongGradient], ending: str) -> dict[str, float]:
    """Return the means over measurements."""
    return {
        f"loss_range{ending}": float(np.mean([np.ptp(one.losses) for one in found])),
        f"gradient_change{ending}": float(np.mean([one.changes.max() for one in found])),
        f"beta{ending}": float(np.mean([one.ratios.max() for one in found])),
    }


def _lines(found: list[tuple[int, curvature.AlongGradient]], name: str, rates: list[float]) -> list[Lines]:
    """Return loss, change and ratio: along the gradient, or over updates with all that is on the way as a band."""
    columns = [[getattr(along, field) for _, along in found] for field in ("losses", "changes", "ratios")]
    if len(found) == 1:
        return [Lines(name, rates, values) for (values,) in columns]
    steps = [step for step, _ in found]
    tables = [np.stack(values) for values in columns]
    return [Lines(name, steps, table.mean(1), table.min(1), table.max(1)) for table in tables]
