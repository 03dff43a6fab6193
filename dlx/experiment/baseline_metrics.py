"""The metrics of a fitted baseline on a part of the data: those that the objective of the spec measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..baselines import Baseline, Learns
from ..data.batch import Batch
from ..lazy import np, torch
from ..losses import LOSSES, Loss
from ..objectives import Supervised

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ..data.base import Floats, Split

OF_PROBABILITIES = {"classification": "cross_entropy", "binary_classification": "binary_cross_entropy"}
"""By objective, the loss that baselines with probabilities are measured by."""
OF_VALUES = ("regression", "forecast")
"""Objectives whose targets are values, which baselines learn."""
EPSILON = 2.220446049250313e-16
"""Least probability in a loss, that of float64, as in sklearn.metrics.log_loss: k-nearest neighbours give zeros."""


@dataclass(frozen=True)
class Measured:
    """Metrics of one part, notes of metrics that leave something out, and those that are tables."""

    metrics: dict[str, float]
    notes: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[list[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Yardstick:
    """The objective by which a baseline is measured, without what its answers do not have."""

    objective: Supervised
    learns: Learns
    without: tuple[str, ...] = ()
    """Metrics of the spec's objective that are left out."""

    @staticmethod
    def of(objective: Supervised, learns: Learns, baseline: Baseline) -> Yardstick:
        """Return the yardstick of a baseline for the objective of a spec."""
        metrics, without = list(objective.metrics), []
        if learns == "classes":
            usual = OF_PROBABILITIES[objective.kind]
            if not baseline.probabilities:
                without = ["loss", *(metric.name for metric in metrics if not metric.ranks)]
                metrics = [metric for metric in metrics if metric.ranks]
            elif objective.loss.kind != usual:
                without = ["loss"]
            loss = objective.loss if objective.loss.kind == usual else LOSSES[usual]()
        else:
            plain = type(objective.loss).predict is Loss.predict
            loss, without = (objective.loss, []) if plain else (LOSSES["squared_error"](), ["loss"])
        update = {"metrics": metrics, "loss": loss, "aux": {}}
        if objective.kind == "forecast":
            update["quantiles"] = []
        return Yardstick(objective.model_copy(update=update), learns, tuple(without))

    def measure(self, baseline: Baseline, fitted: Any, x: Floats, part: Split, classes: int | None) -> Measured:
        """Return the metrics of the answers to inputs `x` (n, values) for the targets of a part."""
        target = torch.from_numpy(np.ascontiguousarray(part.y))
        if self.learns == "values":
            answers = np.asarray(fitted.predict(x), np.float64).reshape(target.shape)
            output = self.objective.scaled(torch.from_numpy(answers).float())  # as a network would give it
            if self.objective.kind == "forecast":
                scale = torch.from_numpy(part.more["scale"])
                target = self.objective.target(Batch({"target": target, "scale": scale}))
        else:
            output = self._logits(baseline, fitted, x, classes or 0)
        meters = self.objective.evaluation()
        meters.add(output, target)
        found = {name: value for name, value in meters.result().items() if name not in self.without}
        return Measured(found, meters.notes(), meters.tables())

    def _logits(self, baseline: Baseline, fitted: Any, x: Floats, classes: int) -> Tensor:
        """Return logits (n, classes), or one (n, 1): logarithms of probabilities, or scores."""
        if baseline.probabilities:
            shares = np.zeros((len(x), classes))
            shares[:, fitted.classes_] = fitted.predict_proba(x)
            logits = np.log(np.clip(shares, EPSILON, 1.0))
        else:
            logits = _scores(fitted, x, classes)
        if self.objective.one_logit:
            return torch.from_numpy(logits[:, 1:] - logits[:, :1])
        return torch.from_numpy(logits)


def in_scale(part: Split) -> npt.NDArray[Any]:
    """Return the targets of a part of series in the scale of its inputs."""
    mean, std = part.more["scale"][:, :1], part.more["scale"][:, 1:2]
    y = part.y if part.y.ndim == 3 else part.y[:, :, None]
    scaled: npt.NDArray[Any] = (y - mean) / std
    return scaled


def _scores(fitted: Any, x: Floats, classes: int) -> npt.NDArray[Any]:
    """Return the score of each class (n, classes); that of a class without training examples is below all others."""
    own = fitted.decision_function(x)
    if own.ndim == 1:  # of two classes: how much the second is preferred
        own = np.stack([-own / 2, own / 2], 1)
    scores = np.full((len(x), classes), own.min() - 1.0)
    scores[:, fitted.classes_] = own
    return scores
