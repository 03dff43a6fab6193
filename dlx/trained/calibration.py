"""Calibration of a trained classifier: whether what it is sure of is true as often as it says.

Reliability diagram and expected calibration error of Guo et al. 2017, arXiv:1706.04599, equations 2 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..lazy import np
from ..metrics import METRICS
from ..objectives import Supervised
from ..runs.folder import RunFolder
from ..training import device
from .evaluate import Loaded, job_of_run, part_of
from .examples import batches_of, heads_of, of_head
from .inside import NothingToShowError

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..training.fit import Job

    Array = npt.NDArray[Any]

BINS = 15
"""Bins of Guo et al. 2017."""


@dataclass(frozen=True)
class Calibration:
    """Predictions of a part in bins of equal width of their confidence, the largest probability.

    Attributes:
        head: the head that it is of; empty for one objective.
        count: predictions in each bin ((m - 1) / M, m / M], (M,); 0 is in the first.
        confidence: their mean confidence (M,); NaN in an empty bin.
        accuracy: the share of them that is right (M,); NaN in an empty bin.
    """

    part: str
    head: str
    count: Array
    confidence: Array
    accuracy: Array

    @property
    def bounds(self) -> Array:
        """The ends of the bins (M + 1,)."""
        found: Array = np.linspace(0, 1, len(self.count) + 1)
        return found

    @property
    def differences(self) -> Array:
        """Accuracy minus confidence (M,), 0 in an empty bin."""
        found: Array = np.nan_to_num(self.accuracy - self.confidence)
        return found

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean of the absolute differences, by the predictions in each bin."""
        return float((np.abs(self.differences) * self.count).sum() / max(self.count.sum(), 1))

    @property
    def largest_error(self) -> float:
        """Maximum calibration error: the largest absolute gap."""
        return float(np.abs(self.differences).max(initial=0.0))


def binned(confidence: Array, right: Array, bins: int = BINS, part: str = "", head: str = "") -> Calibration:
    """Return predictions (n,) in bins of their confidence; `right` is 1 where a prediction is true, else 0."""
    # in its own precision, in which 0.3 * 10 is rounded to 3: a float32 of 0.3 is above 3/10 as a float64
    place = np.clip(np.ceil(np.asarray(confidence) * bins).astype(int) - 1, 0, bins - 1)
    count, sums, hits = (np.bincount(place, each, bins) for each in (None, confidence, right))
    with np.errstate(invalid="ignore"):
        return Calibration(part, head, count, sums / count, hits / count)


def calibration(
    run: RunFolder, part: str | None = None, bins: int = BINS, name: str = "final", *, loaded: Loaded | None = None
) -> list[Calibration]:
    """Return the calibration of each head of a run on a part of its data: test, else validation, else training.

    Of a binary classification it is that of the probability of class 1.

    Raises:
        DlxError: the run tells no classes apart, or has no such part or checkpoint, or its data has changed.
    """
    with device.threads(run.threads()):
        job = (loaded or job_of_run(run, name)).job
        learns = isinstance(job.objective, Supervised)
        heads = [one for one in heads_of(job, "--kind calibration") if _has_classes(one.objective)] if learns else []
        if not heads:
            hint = "It is of objectives with classes, such as `classification`."
            raise NothingToShowError(f"{run.key} gives no probabilities of classes", hint=hint)
        return _of_heads(job, heads, part_of(job, part, run), bins)


def _of_heads(job: Job, heads: Sequence[Any], part: str, bins: int) -> list[Calibration]:
    metric = METRICS.new("calibration_error")()
    meters: dict[str, Any] = {}
    for outputs, batch in batches_of([job], part):
        for head in heads:
            scores, target = head.objective.scores_of_targets(*of_head(job, head, outputs, batch))
            meter = meters.setdefault(head.name, head.objective.meter_of(metric, scores))
            meter.update(head.objective.scores_of(metric, scores), target)
    found = []
    for name, meter in meters.items():
        confidence, right = (one.cpu().numpy() for one in meter.confidences())
        found.append(binned(confidence, right, bins, part, name))
    return found


def _has_classes(objective: Any) -> bool:
    """Whether the metric of the same name could be asked for."""
    metric = METRICS.new("calibration_error")()
    return bool(objective.measures == metric.wants)
