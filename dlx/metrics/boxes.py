"""Metrics of detected boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ..lazy import torch
from .base import Meter, Metric

if TYPE_CHECKING:
    from torch import Tensor


class AveragePrecision(Metric):
    """Mean over classes of the area under precision over recall of the detected boxes.

    Each box has the class that its cell is surest of, and the product of both confidences. A box counts as found
    where it overlaps a true one of its class, not yet found, by `iou`. Of boxes of a class that overlap by more than
    `suppress` the surest is kept. Classes that no picture has are left out.
    Source: Everingham et al. 2015, The Pascal visual object classes challenge: a retrospective, section 3.2; Redmon
    et al. 2016, arXiv:1506.02640, equation 1.
    """

    kind: ClassVar[str] = "average_precision"
    wants: ClassVar[Literal["classes", "values", "boxes"]] = "boxes"
    iou: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="overlap of a box that is found")
    suppress: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="overlap of two boxes of one thing")
    least: float = Field(0.01, description="confidence below which a box is left out")

    def meter(self, output: Tensor, ignore: int | None) -> Meter:
        return _Boxes(self)


class _Boxes(Meter):
    """Accumulates boxes as rows: picture, class, score, corners."""

    def __init__(self, metric: AveragePrecision) -> None:
        self.metric, self.pictures = metric, 0
        self.predicted: list[Tensor] = []
        self.true: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        from ..modules import boxes

        truth = boxes.decode_targets(target)
        corners, kinds, scores = boxes.detections(output, (output.shape[1] - target.shape[1]) // 5 + 1)
        out = boxes.suppressed(corners, kinds, scores, self.metric.suppress)
        self._append(self.predicted, corners, kinds, scores, (scores > self.metric.least) & ~out)
        there = truth.confidence.flatten(1)
        self._append(self.true, truth.corners.flatten(1, 3), truth.classes.argmax(1).flatten(1), there, there > 0)
        self.pictures += len(output)

    def _append(self, batches: list[Tensor], corners: Tensor, kinds: Tensor, scores: Tensor, which: Tensor) -> None:
        """Append the boxes of the mask `which` to `batches` as float64 rows: picture, class, score, corners."""
        picture = torch.arange(len(which), device=which.device)[:, None].expand_as(which) + self.pictures
        columns = [values[which][:, None] for values in (picture, kinds, scores)]
        batches.append(torch.cat([column.double() for column in (*columns, corners[which])], 1).cpu())

    def compute(self) -> Tensor:
        from ..modules import boxes

        predicted, targets = torch.cat(self.predicted), torch.cat(self.true)
        predicted = predicted[predicted[:, 2].argsort(descending=True, stable=True)]
        each = []
        for one in sorted(set(targets[:, 1].tolist())):
            mine, true = predicted[predicted[:, 1] == one], targets[targets[:, 1] == one]
            right = boxes.hits(mine[:, 0], mine[:, 3:], true[:, 0], true[:, 3:], self.metric.iou)
            each.append(boxes.average_precision(right, len(true)))
        return torch.tensor(each, dtype=torch.float64).mean() if each else torch.tensor(torch.nan)

    def note(self, names: Sequence[str]) -> str:
        return "" if any(map(len, self.true)) else "undefined, for no picture has a box"
