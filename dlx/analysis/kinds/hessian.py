"""The Hessian of the loss: its eigenvalues and its condition number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...lazy import np
from ...spec.analyses import Analysis
from ..loss_at import in_float64, loss_at, problems
from ..measures import curvature
from ..measures.over_seeds import over_seeds
from ..measures.weight_space import trained_weights
from ..result import Lines, Panel, Points, Result

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import fx

    from ...data.batch import Batch
    from ..subject import Subject

    Array = npt.NDArray[np.float64]

ZERO = 1e-9
"""Eigenvalues below this share of the largest one count as 0."""


class Hessian(Analysis):
    """Eigenvalues of the matrix of second derivatives of the loss by all trained weights, and its condition number.

    Up to `exact` weights the matrix is computed, one product with it a column; above, the two ends of its spectrum by
    ARPACK and all of it by `steps` steps of Lanczos from `draws` random vectors, of products alone. In float64, in
    evaluation mode, without penalties. Figures: `largest`, `smallest`, `trace`, `negative` (share of eigenvalues
    below 0), `condition_number` (largest over smallest absolute value; only where the matrix is exact, or positive),
    `exact` and `weights`. Gradient descent on a quadratic is stable for rates below 2 / `largest`.
    Books: a loss with a large condition number changes quickly in one direction and slowly in another, and gradient
    descent zigzags.
    """

    kind: ClassVar[str] = "hessian"
    source: ClassVar[str] = "CS231n, section 7.1; Ghorbani et al. 2019, arXiv:1901.10159"
    example: ClassVar[str] = "dlx analyze hessian udl/figure-2-3"
    figures: ClassVar[tuple[str, ...]] = (
        "largest",
        "smallest",
        "trace",
        "negative",
        "condition_number",
        "largest_low",
        "largest_high",
        "exact",
        "weights",
    )

    examples: PositiveInt = Field(1000, description="examples whose mean loss it is of, at most")
    part: str = Field("train", description="part of the data that they are from")
    exact: int = Field(400, le=20_000, ge=0, description="weights up to which the whole matrix is computed")
    steps: PositiveInt = Field(30, description="steps of Lanczos for each draw")
    draws: PositiveInt = Field(3, le=10_000, description="random vectors that Lanczos starts from")
    seeds: PositiveInt = Field(1, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return why there is no loss of one network."""
        return problems(subject)

    def run(self, subject: Subject) -> Result:
        """Find the eigenvalues for each network; the picture is of the first."""
        batch = in_float64(subject.examples(self.examples, part=self.part))
        found = [self._spectrum(network.double(), subject, batch) for network in subject.several(self.seeds)]
        common = [name for name in found[0][0] if all(name in each for each, _ in found)]
        figures: dict[str, Any] = {name: float(over_seeds([each[name] for each, _ in found])[0]) for name in common}
        _, low, high = over_seeds([each["largest"] for each, _ in found])
        if low is not None and high is not None:
            figures |= {"largest_low": float(low), "largest_high": float(high)}
        exact = [values for _, values in found if isinstance(values, np.ndarray)]
        figures |= {"exact": len(exact) == len(found), "weights": subject.graph.params}
        rows = [[i, *(each[name] for name in common)] for i, (each, _) in enumerate(found, 1)]
        return Result(figures, (_panel(found[0][1]),), (("network", *common), rows), seeds=len(found))

    def _spectrum(
        self, network: fx.GraphModule, subject: Subject, batch: Batch
    ) -> tuple[dict[str, float], Array | curvature.Density]:
        """Return figures, and all eigenvalues or the values that stand for them."""
        weights = trained_weights(network)
        size = sum(weight.numel() for weight in weights)
        product = curvature.hessian_product(loss_at(subject, network, batch), weights)
        if size <= max(self.exact, 2):
            found = np.asarray(np.linalg.eigvalsh(curvature.whole_hessian(product, size)), np.float64)
            return _figures(found, np.full(size, 1 / size), size, (found[0], found[-1]), is_whole=True), found
        low, high = curvature.extremes(product, size, seed=0)
        generator = np.random.default_rng(0)
        each = [curvature.lanczos(product, size, self.steps, generator) for _ in range(self.draws)]
        values: Array = np.concatenate([one.values for one in each])
        shares: Array = np.concatenate([one.shares for one in each]) / self.draws
        order = np.argsort(values)
        density = curvature.Density(values[order], shares[order])
        return _figures(density.values, density.shares, size, (low, high)), density


def _figures(
    values: Array, shares: Array, size: int, ends: tuple[float, float], is_whole: bool = False
) -> dict[str, float]:
    """Return what values that stand for all eigenvalues, the share of each, and the two ends say of the matrix."""
    low, high = map(float, ends)
    bound = ZERO * max(abs(low), abs(high))
    found = {
        "largest": high,
        "smallest": low,
        "trace": float(values @ shares) * size,
        "negative": float(shares[values < -bound].sum()),
    }
    sizes = np.abs(values if is_whole else ends)
    if (is_whole or low > 0) and sizes.min() > bound:
        found["condition_number"] = float(sizes.max() / sizes.min())
    return found


def _panel(found: Array | curvature.Density) -> Panel:
    """Return the eigenvalues in ascending order, against the share of them that is below each."""
    if isinstance(found, curvature.Density):
        marks = (Lines("by Lanczos", np.cumsum(found.shares) - found.shares / 2, found.values),)
        return Panel("eigenvalues of the Hessian", "share of the eigenvalues below", "eigenvalue", marks)
    places = (np.arange(len(found)) + 0.5) / len(found)
    return Panel(
        "eigenvalues of the Hessian",
        "share of the eigenvalues below",
        "eigenvalue",
        (Points("exact", places, found),),
    )
