"""Batch norm as noise: the same points, normalised in drawn batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import DlxError, Problem
from ...lazy import np
from ...spec.analyses import Analysis, Words
from ..features import features_of
from ..layers import unknown_names
from ..measures.batch_noise import batch_means, blur, mean_blur, normalised
from ..result import Lines, Panel, Points, Result

if TYPE_CHECKING:
    from ..subject import Subject

CLOUD = 12
"""Draws of each point that are shown."""


class BatchNormNoise(Analysis):
    """What normalising by the statistics of random batches does to a few points: each becomes a cloud.

    `points` examples are cut into random batches of B of them, over and over, and each batch is normalised by its own
    mean and variance: (x - mean) / sqrt(variance + 1e-5), as batch norm does in training. `blur_B` is by how much a
    point moves between draws (standard deviation over draws, root mean square over points and values), `mean_blur_B`
    the part of it that the mean makes: the standard deviation of a batch's mean in standard deviations of the points,
    which is sqrt((m - B) / ((m - 1) B)) for batches of B out of m (dashed).
    Books: batches of 20, 10 and 5 out of 30 points blur the data more and more; the whole set does not.
    """

    kind: ClassVar[str] = "batch_norm_noise"
    source: ClassVar[str] = "Ihler, course notes, chapter 6, example 6-6"
    example: ClassVar[str] = "dlx analyze batch_norm_noise digits/lenet"
    figures: ClassVar[tuple[str, ...]] = ("blur_N", "mean_blur_N")

    batch_sizes: list[PositiveInt] = Field([20, 10, 5], min_length=1, description="sizes of the batches")
    points: PositiveInt = Field(30, le=100_000, ge=3, description="training examples")
    layer: str = Field("", description="node whose values are normalised; empty: the input of the network")
    draws: PositiveInt = Field(400, le=100_000, ge=2, description="times that each point is in a batch")

    def words(self, subject: Subject) -> Words:
        return {"N": [str(size) for size in self.batch_sizes]}

    def problems(self, subject: Subject) -> list[Problem]:
        """Return batches that are no part of the points, and a layer that there is not."""
        found = unknown_names(subject.graph, [self.layer])
        for size in self.batch_sizes:
            if not 2 <= size <= self.points:
                message = f"a batch of {size} is not from 2 to all {self.points} points"
                found.append(Problem(message, f"Set `batch_sizes: [{self.points // 2}]`, or more `points`."))
        return found

    def run(self, subject: Subject) -> Result:
        """Normalise the points in random batches of each size."""
        batch = subject.examples(self.points, part="train" if subject.has_data else "")
        layer = self.layer or next(iter(subject.graph.inputs))
        x = features_of(subject.network(), subject.graph, batch, layer).astype(np.float64)
        x = x[:, x.std(0) > 1e-9]
        if not x.shape[1] or len(x) < max(self.batch_sizes):
            what = f"{len(x)} examples" if x.shape[1] else "no value that varies"
            raise DlxError(f"`{layer}` of {subject.name} has {what} to normalise",
                           hint="Set fewer `points` and smaller `batch_sizes`, or another `layer`.")  # fmt: skip
        figures: dict[str, float] = {}
        panels = []
        for size in self.batch_sizes:
            made = normalised(x, size, self.draws, np.random.default_rng(0))
            figures[f"blur_{size}"] = blur(made)
            means = batch_means(x, size, self.draws, np.random.default_rng(0))
            figures[f"mean_blur_{size}"] = float(np.sqrt((means.var(0) / x.var(0)).mean()))
            panels.append(_cloud(made, size, x))
        sizes = sorted(self.batch_sizes)
        lines = (
            Lines("a point", sizes, [figures[f"blur_{b}"] for b in sizes]),
            Lines("the mean", sizes, [figures[f"mean_blur_{b}"] for b in sizes]),
            Lines("the mean, by formula", sizes, [mean_blur(b, len(x)) for b in sizes], dashed=True),
        )
        panels.append(Panel(f"blur of {len(x)} points", "batch size", "standard deviations of the data", lines))
        rows = [[b, figures[f"blur_{b}"], figures[f"mean_blur_{b}"], mean_blur(b, len(x))] for b in self.batch_sizes]
        return Result(figures, tuple(panels), (("batch size", "blur", "of the mean", "by formula"), rows),
                      (f"values are those of `{layer}`",))  # fmt: skip


def _cloud(made: Any, size: int, x: Any) -> Panel:
    """Return the two values of largest variance of all points: as random batches normalise them, and as all do."""
    two = np.argsort(-x.var(0), kind="stable")[:2]
    shown = made[:CLOUD, :, two].reshape(-1, len(two))
    shown = shown[np.isfinite(shown[:, 0])]
    whole = ((x - x.mean(0)) / x.std(0))[:, two]
    if len(two) < 2:  # one value: the second axis only spreads the points
        shown, whole = (np.column_stack([one, np.zeros(len(one))]) for one in (shown, whole))
    axes = [f"value {i}, normalised" for i in two] + [""]
    marks = tuple(
        Points(label, one[:, 0], one[:, 1])
        for label, one in ((f"batches of {size}", shown), (f"all {len(x)} points", whole))
    )
    return Panel(f"batches of {size}", axes[0], axes[1], marks)
