"""Parts of the data under `augment` for objectives with phases: examples changed once, or in several views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...augment.views import middle
from ...data.batch import Batch
from ...lazy import torch
from ...objectives import Objective
from ...objectives.base import views_of
from ...shapes import Shape
from ...spec import Train
from ...spec.sections.augmentation import shape_after
from .augmentation import change_of
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.preprocess import Fitted


@dataclass(frozen=True)
class ViewedPart(DataPart):
    """A part whose main input `train.augment` changes: once and in training, or into several views."""

    of: DataPart
    """The part without augmentation."""
    size: tuple[int, ...]
    """Size of the positions that the network takes."""
    change: Callable[[Tensor, Any], tuple[Tensor, Any]]
    count: int
    """Views of an example."""
    seed: int
    """Of the views of an evaluation."""

    def take(self, index: Tensor) -> Batch:
        batch = self.of.take(index)
        if self.count > 1:
            return self._viewed(batch)
        return replace(batch, fields={**batch.fields, self.main: self._changed(batch)})

    def without(self, name: str) -> DataPart:
        return replace(super().without(name), of=self.of.without(name))  # type: ignore[call-arg]

    def prefetch(self, indices: Tensor, size: int) -> None:
        self.of.prefetch(indices, size)

    def chunks(self, size: int) -> Iterator[Batch]:
        for number, batch in enumerate(self.of.chunks(size)):
            if self.count == 1:
                yield self._middle(batch)
                continue
            cuda = [batch[self.main].device] if batch[self.main].is_cuda else []
            with torch.random.fork_rng(cuda):
                torch.manual_seed(self.seed + number)
                viewed = self._viewed(batch)
            yield viewed

    def _changed(self, batch: Batch) -> Tensor:
        found, _ = self.change(batch[self.main], {})
        return found

    def _middle(self, batch: Batch) -> Batch:
        x = batch[self.main]
        same = tuple(x.shape[2:]) == self.size
        return batch if same else replace(batch, fields={**batch.fields, self.main: middle(x, self.size)})

    def _viewed(self, batch: Batch) -> Batch:
        """Return a batch with the views of its examples beside them."""
        views = torch.stack([self._changed(batch) for _ in range(self.count)], 1)
        with_middle = self._middle(batch)
        return replace(with_middle, fields={**with_middle.fields, views_of(self.main): views})


def viewed(
    parts: dict[str, DataPart], train: Train, objective: Objective, preprocess: Sequence[Fitted] = ()
) -> dict[str, DataPart]:
    """Return the parts under `augment` as the objective takes them; `parts` itself where it takes them unchanged."""
    if not (objective.views and train.augment):
        return parts
    size = shape_after(train.augment, Shape(parts["train"].x.shape[1:])).size
    change = change_of(parts["train"], train, objective, preprocess)

    def of(part: DataPart) -> DataPart:
        return ViewedPart(
            part.x, part.y, part, size, change, objective.views, train.seed, more=part.more, names=part.names
        )

    return {name: of(part) for name, part in parts.items()}
