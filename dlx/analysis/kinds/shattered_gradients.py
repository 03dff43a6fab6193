"""The autocorrelation of the gradient of a network along its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem
from ...lazy import np, torch
from ...spec.analyses import Analysis
from ..measures.autocorrelation import at_lag, autocorrelations, products
from ..measures.over_seeds import over_seeds
from ..measures.walk import first_output
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import fx

    from ...shapes import Shape
    from ..subject import Subject


class ShatteredGradients(Analysis):
    """Autocorrelation of dy/dx along a line through the input: how far the gradient at one point tells of another's.

    The line goes through the origin: x = s u for `points` values of s from -width to width, where u is 1 for a single
    input and a random unit vector for several, of each seed another; y is the sum of the first output, and the
    gradient that along the line, dy/ds. Figures are at the lag `lag` of s: `autocorrelation` is the mean over seeds
    of that of each, about its own mean; `ensemble_autocorrelation` is E[g(s) g(s + lag)] / E[g(s)^2] over seeds and
    s, of which wide networks have a formula. The networks are in evaluation mode.
    Books: it falls slowly for one layer and to nearly 0 for 24, residual networks are between. Biases are drawn too:
    with zero biases all joints lie at 0, and one layer is as good as 24.
    """

    kind: ClassVar[str] = "shattered_gradients"
    source: ClassVar[str] = (
        "Balduzzi et al. 2017, arXiv:1702.08591; "
        "Prince 2023, Understanding Deep Learning, section 11.1.1, figure 11.3"
    )
    example: ClassVar[str] = "dlx analyze shattered_gradients udl/shattered-gradients-24"
    figures: ClassVar[tuple[str, ...]] = ("autocorrelation", "ensemble_autocorrelation")

    lag: PositiveFloat = Field(0.25, description="distance of two points on the line at which the figures are")
    width: PositiveFloat = Field(2.0, description="end of the line, from -width to width")
    points: int = Field(401, ge=16, le=100_001, description="points of the line")
    seeds: PositiveInt = Field(20, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return inputs that have no gradient, and a lag that the line does not have."""
        found, inputs = [], subject.graph.inputs
        if len(inputs) > 1 or any(shape.dtype != "float" for shape in inputs.values()):
            what = f"{len(inputs)} inputs" if len(inputs) > 1 else "whole numbers as input"
            found.append(Problem(f"{subject.name} takes {what}, and the gradient is along one input of floats"))
        if self.lag > self.width:
            hint = f"Take a `lag` of at most {self.width:g}, or a longer line by `width`."
            found.append(
                Problem(
                    f"`lag: {self.lag:g}` is more than half of a line from {-self.width:g} to {self.width:g}", hint
                )
            )
        return found

    def run(self, subject: Subject) -> Result:
        """Differentiate each network along its line."""
        along = np.linspace(-self.width, self.width, self.points)
        (shape,) = subject.graph.inputs.values()
        networks = enumerate(subject.several(self.seeds))
        rows = np.array([self._gradients(one, shape, along, seed) for seed, one in networks])
        lags = (along[1] - along[0]) * np.arange(self.points // 2 + 1)
        each = np.array([autocorrelations(row) for row in rows])
        alive = each[np.isfinite(each[:, 0])]
        mean, low, high = over_seeds(alive if len(alive) else each)
        together = products(rows)
        notes = (f"{len(each) - len(alive)} of {len(each)} have one gradient everywhere, and no autocorrelation",)
        marks = (Lines("autocorrelation", lags, mean, low, high), Lines("about 0, of all seeds", lags, together))
        example = Panel(
            f"dy/ds of the first of {len(rows)}",
            "position s along the line",
            "dy/ds",
            (Lines("dy/ds", along, rows[0]),),
        )
        return Result(
            {
                "autocorrelation": at_lag(mean, lags[1], self.lag),
                "ensemble_autocorrelation": at_lag(together, lags[1], self.lag),
            },
            (Panel("autocorrelation of the gradient", "lag along the line", "autocorrelation", marks), example),
            (("lag", "autocorrelation", "about 0, of all seeds"), self._rows(lags, mean, together)),
            notes if len(alive) < len(each) else (),
            seeds=len(rows),
        )

    def _rows(self, lags: Any, *columns: Any) -> list[list[float]]:
        shown = [i * self.width / 8 for i in range(9)]
        return [[lag, *(at_lag(one, lags[1], lag) for one in columns)] for lag in shown]

    def _gradients(self, network: fx.GraphModule, shape: Shape, along: Any, seed: int) -> Any:
        """Return the gradient along a line at each of its points, (points,)."""
        direction = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
        unit = torch.ones_like(direction) if direction.numel() == 1 else direction / direction.norm()
        first = next(network.parameters(), torch.zeros(()))
        s = torch.tensor(along, dtype=first.dtype, device=first.device).view(-1, *(1 for _ in shape)).requires_grad_()
        y = first_output(network(s * unit.to(first)))
        (gradient,) = torch.autograd.grad(y.sum(), s)
        return gradient.flatten().double().cpu().numpy()
