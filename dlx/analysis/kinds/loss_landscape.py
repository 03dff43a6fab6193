"""The loss around a network in two random directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis, Words
from ..loss_at import evaluated, problems
from ..measures import weight_space
from ..result import Heat, Panel, Result, scale_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from ...data.batch import Batch
    from ..subject import Subject

    Array = npt.NDArray[np.float64]


class LossLandscape(Analysis):
    """The loss at w + a d + b e for two random directions d and e whose filters are as long as those of w.

    Each filter of a direction is scaled to the length of the same filter of the weights (filter normalisation), so
    that networks can be compared whatever their scale; biases and norms do not move. Evaluation mode, float32,
    without penalties. Figures: `loss` in the middle, `lowest`, `highest`, `rise` (mean loss of the border less that
    of the middle) and `bumpiness` (how much rows and columns go up and down beyond what one minimum takes, in units
    of their range: 0 for a bowl, 2 for a hill). Of several runs the figures of the second end in `_2`.
    Books: with residual connections the surface around the minimum is smoother than without (figure 11.13).
    """

    kind: ClassVar[str] = "loss_landscape"
    source: ClassVar[str] = (
        "Li et al. 2018, arXiv:1712.09913, section 4; Prince 2023, Understanding Deep Learning, figure 11.13"
    )
    example: ClassVar[str] = "dlx analyze loss_landscape digits/lenet"
    figures: ClassVar[tuple[str, ...]] = (
        "loss",
        "lowest",
        "highest",
        "rise",
        "bumpiness",
        "loss_N",
        "lowest_N",
        "highest_N",
        "rise_N",
        "bumpiness_N",
    )
    several: ClassVar[Literal["seeds", "networks", "no"]] = "networks"

    points: int = Field(
        9, le=1_000, ge=3, description="points on a side of the map; odd, so that the weights are in the middle"
    )
    radius: PositiveFloat = Field(1.0, description="largest a and b; at 1 a filter has moved by its own length")
    examples: PositiveInt = Field(1000, description="examples whose mean loss it is, at most")
    part: str = Field("train", description="part of the data that they are from")
    seed: int = Field(0, ge=0, description="seed of the directions")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no loss, and an even number of points."""
        found = problems(subject)
        if self.points % 2 == 0:
            found.append(
                Problem(f"`points: {self.points}` is even, and the weights are in the middle", "Take an odd one.")
            )
        return found

    def words(self, subject: Subject) -> Words:
        return {"N": subject.numbers_of_others}

    def run(self, subject: Subject) -> Result:
        """Map the loss around each network."""
        figures: dict[str, Any] = {}
        panels: list[Panel] = []
        rows: list[list[Any]] = []
        places = np.linspace(-self.radius, self.radius, self.points)
        maps = [self._map(one, one.examples(self.examples, part=self.part), places) for one in subject.each]
        ends = np.concatenate([one[np.isfinite(one)] for one in maps])
        limits = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
        for index, (one, table) in enumerate(zip(subject.each, maps, strict=True)):
            ending = f"_{index + 1}" if index else ""
            figures |= {f"{name}{ending}": value for name, value in _figures(table).items()}
            heat = Heat(
                places, places, table, contours=True, label="loss", scale=scale_of(np.array(limits)), limits=limits
            )
            panels.append(Panel(one.name, "first direction", "second direction", (heat,)))
            rows += [
                [one.name, float(x), float(y), float(table[j, i])]
                for j, y in enumerate(places)
                for i, x in enumerate(places)
            ]
        titles = ("network", "first direction", "second direction", "loss")
        return Result(figures, tuple(panels), (titles, rows))

    def _map(self, subject: Subject, batch: Batch, places: Array) -> Array:
        """Return the loss at each point (second direction, first direction)."""
        network = subject.network()
        weights = weight_space.trained_weights(network)
        generator = torch.Generator().manual_seed(self.seed)
        with weight_space.restored(weights) as start:
            first, second = (weight_space.filter_normalised(start, generator) for _ in range(2))
            found = np.empty((len(places), len(places)))
            for j, y in enumerate(places):
                for i, x in enumerate(places):
                    weight_space.move(weights, start, (float(x), first), (float(y), second))
                    found[j, i] = evaluated(subject, network, batch).loss
        return found


def _figures(table: Array) -> dict[str, float]:
    middle = float(table[len(table) // 2, len(table) // 2])
    border = np.concatenate([table[0], table[-1], table[1:-1, 0], table[1:-1, -1]])
    return {
        "loss": middle,
        "lowest": float(table.min()),
        "highest": float(table.max()),
        "rise": float(border.mean()) - middle,
        "bumpiness": weight_space.bumpiness(table),
    }
