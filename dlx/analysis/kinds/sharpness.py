"""How sharp the minimum is that a network lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem
from ...spec.analyses import Analysis
from ..loss_at import loss_at, problems
from ..measures import curvature
from ..measures.over_seeds import over_seeds
from ..measures.weight_space import trained_weights
from ..result import Bars, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...data.batch import Batch
    from ..subject import Subject

NAMES = {
    "ascent": "one step up the gradient",
    "most_in_ball": "most in the ball",
    "most_in_box": "most in the box",
}


class Sharpness(Analysis):
    """How much the loss rises nearby, and the largest eigenvalue of its Hessian.

    Figures: `loss`; `ascent` = L(w + rho g / ||g||) - L(w), the step of sharpness-aware minimisation; `most_in_ball`,
    the largest rise that projected gradient ascent finds within the distance `rho`; `most_in_box`, the largest rise
    that L-BFGS-B finds where each weight moves by at most epsilon (|w| + 1); `epsilon_sharpness`, that one as
    100 rise / (1 + L(w)); `largest_eigenvalue`. In evaluation mode, without penalties.
    Books: flat minima are said to generalise better; smaller batches end in wider ones.
    """

    kind: ClassVar[str] = "sharpness"
    source: ClassVar[str] = (
        "Keskar et al. 2017, arXiv:1609.04836, section 2.2; Foret et al. 2021, arXiv:2010.01412, equation 2; "
        "Prince 2023, section 20.2.6"
    )
    example: ClassVar[str] = "dlx analyze sharpness last"
    figures: ClassVar[tuple[str, ...]] = (
        "loss",
        "ascent",
        "most_in_ball",
        "most_in_box",
        "epsilon_sharpness",
        "largest_eigenvalue",
    )

    rho: PositiveFloat = Field(
        0.05, description="radius of the ball: Euclidean distance of all weights from where they are"
    )
    epsilon: PositiveFloat = Field(1e-3, description="half a side of the box, times |w| + 1")
    steps: PositiveInt = Field(10, description="steps of gradient ascent, and of L-BFGS-B")
    examples: PositiveInt = Field(1000, description="examples whose mean loss it is, at most")
    part: str = Field("train", description="part of the data that they are from")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no loss of one network."""
        return problems(subject)

    def run(self, subject: Subject) -> Result:
        """Measure each network."""
        batch = subject.examples(self.examples, part=self.part)
        found = [self._of(network, subject, batch) for network in subject.several(self.seeds)]
        table = {name: over_seeds([each[name] for each in found]) for name in found[0]}
        figures: dict[str, Any] = {name: float(mean) for name, (mean, _, _) in table.items()}
        rises, low, high = zip(*(table[name] for name in NAMES), strict=True)
        bars = Bars("rise of the loss", list(NAMES.values()), rises, *((low, high) if low[0] is not None else ()))
        rows = [[i, *each.values()] for i, each in enumerate(found, 1)]
        panel = Panel("sharpness", "", "rise of the loss", (bars,))
        return Result(figures, (panel,), (("network", *found[0]), rows), seeds=len(found))

    def _of(self, network: fx.GraphModule, subject: Subject, batch: Batch) -> dict[str, float]:
        weights, loss = trained_weights(network), loss_at(subject, network, batch)
        low = float(loss().detach())
        ball = curvature.sharpness(loss, weights, self.rho, self.steps)
        box = curvature.most_in_box(loss, weights, self.epsilon, self.steps)
        size = sum(weight.numel() for weight in weights)
        product = curvature.hessian_product(loss, weights)
        return {
            "loss": low,
            "ascent": ball.ascent,
            "most_in_ball": ball.most,
            "most_in_box": box,
            "epsilon_sharpness": 100 * box / (1 + low),
            "largest_eigenvalue": curvature.largest(product, size, seed=0),
        }
