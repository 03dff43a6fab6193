"""Parts of the data under `augment` and `test_time`: augmented in training, cropped or in views in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...augment import Mixing, View
from ...augment.base import mixing
from ...augment.one_of import flattened
from ...augment.pipeline import TrainingSetInfo, maps, pipeline
from ...augment.views import middle
from ...data import Sets
from ...errors import Problem, SpecError
from ...lazy import torch
from ...objectives import Supervised
from ...shapes import Shape
from ...spec import Experiment, Train
from ...spec.sections.augmentation import shape_after
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.preprocess import Fitted

    Network = Callable[[Tensor], Any]

SAMPLED_EXAMPLES = 1000
"""Training examples whose range of values is checked."""
ROUNDING = 1e-3
"""Tolerance of that range."""
FITTED_EXAMPLES = 10_000
"""Training examples that an augmentation is fitted to, such as the principal components of their colours."""


@dataclass(frozen=True)
class AugmentedPart(DataPart):
    """A part whose training batches are augmented, and whose evaluation takes the centre crop or several views."""

    of: DataPart
    """The part without augmentation."""
    objective: Supervised
    size: tuple[int, ...]
    """Size of the positions that the network takes: (height, width) of images."""
    change: Callable[[Tensor, Any], tuple[Tensor, Any]] | None = None
    view: View | None = None

    def take(self, index: Tensor) -> tuple[Tensor, Any]:
        x, y = self.of.take(index)
        return self.change(x, y) if self.change is not None else self._middle(x, y)

    def prefetch(self, indices: Tensor, size: int) -> None:
        self.of.prefetch(indices, size)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return (self._middle(x, y) for x, y in self.of.chunks(size))

    def answers(self, network: Network, size: int) -> Iterator[tuple[Any, Tensor]]:
        if self.view is None:
            yield from super().answers(network, size)
            return
        for x, y in self.of.chunks(size):
            yield _pooled(network, self.objective, self.view.of(x, self.size)), y

    def _middle(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if tuple(x.shape[2:]) == self.size:
            return x, y
        return middle(x, self.size), (_middle_of(y, self.size) if maps(x, y) else y)


def augmented(
    parts: dict[str, DataPart], train: Train, objective: Supervised, preprocess: Sequence[Fitted] = ()
) -> dict[str, DataPart]:
    """Return the parts under `augment` and `test_time` of the spec; `parts` itself where it has neither."""
    if not (train.augment or train.test_time):
        return parts
    size = shape_after(train.augment, Shape(next(iter(parts.values())).x.shape[1:])).size

    def of(name: str, part: DataPart) -> DataPart:
        change = _change(part, train, objective, preprocess) if name == "train" and train.augment else None
        return AugmentedPart(part.x, part.y, part, objective, size, change, train.test_time)

    return {name: of(name, part) for name, part in parts.items()}


def check_colours(experiment: Experiment, sets: Sets) -> None:
    """Raise SpecError where an augmentation of colours meets data whose brightness is not from 0 to 1."""
    train = experiment.train
    assert train is not None
    index = next((i for i, step in enumerate(train.augment) if step.colours), None)
    if index is None:
        return
    from ...augment.colours import pixels

    x, seen = torch.as_tensor(sets.train.x[:SAMPLED_EXAMPLES]), pixels(sets.preprocess, "cpu")
    x = x if seen is None else x * seen.scale + seen.shift
    low, high = float(x.min()), float(x.max())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return
    node, kind = experiment.root.at("train", "augment", index), train.augment[index].kind
    coloured = next(one.kind for one in flattened([train.augment[index]]) if one.colours)
    message = f"{coloured} changes brightness from 0 to 1, and the data goes from {low:.3g} to {high:.3g}"
    mark = node.mark if node is not None else experiment.place("train", "augment")
    hint = "`data: {...: {preprocess: [...]}}` is undone for it; what lies in the files should be from 0 to 1."
    raise SpecError(Problem(message, hint, mark, f"train.augment.{index}.{kind}"))


def center_crops(parts: dict[str, DataPart], size: tuple[int, ...]) -> dict[str, DataPart]:
    """Crop the centre of `size` out of each example of parts that lie in memory."""

    def of(part: DataPart) -> DataPart:
        if part.x.dim() < 3 or tuple(part.x.shape[2:]) == size:
            return part
        y = _middle_of(part.y, size) if maps(part.x, part.y) else part.y
        return DataPart(middle(part.x, size), y)

    return {name: of(part) for name, part in parts.items()}


def _middle_of(y: Tensor, size: tuple[int, ...]) -> Tensor:
    """Crop targets that are maps: classes (N, *size), or values (N, C, *size)."""
    return middle(y, size) if y.is_floating_point() else middle(y[:, None], size)[:, 0]


def training_loss(train: Train, objective: Supervised) -> Callable[[Any, Any], Tensor]:
    """Return the objective's training loss, which takes mixed targets where an augmentation mixes examples."""
    mixes = any(isinstance(step, Mixing) for step in train.augment)
    return objective.training_loss(mixing if mixes else None)


def _change(
    part: DataPart, train: Train, objective: Supervised, preprocess: Sequence[Fitted]
) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    from ...augment.colours import pixels

    def examples() -> Tensor:
        count = min(len(part), FITTED_EXAMPLES)
        x, _ = part.take(torch.arange(count, device=part.x.device) * len(part) // count)
        return x

    # the device of a batch, which is not that of `x` where the part stays on disk
    device = part.take(torch.zeros(1, dtype=torch.long, device=part.x.device))[0].device
    coloured = any(step.colours for step in train.augment)
    seen = pixels(preprocess, device) if coloured else None
    ignored = objective.loss.ignores()
    return pipeline(train.augment, TrainingSetInfo(examples, seen, 0 if ignored is None else ignored))


def inference_call(train: Train, objective: Supervised, shape: Sequence[int]) -> Callable[[Network, Tensor], Any]:
    """Return the function that calls a network on examples of `shape` as an evaluation does: cropped, or by views."""
    if not (train.augment or train.test_time):
        return lambda network, x: network(x)
    size, view = shape_after(train.augment, Shape(shape)).size, train.test_time
    if view is None:
        return lambda network, x: network(middle(x, size))
    return lambda network, x: _pooled(network, objective, view.of(x, size))


def _pooled(network: Network, objective: Supervised, views: Iterator[Tensor]) -> Tensor:
    """Combine the network's outputs for several views of the same examples, by the rule of the loss."""
    return objective.loss.averaged(torch.stack([objective.main(network(view)) for view in views]))
