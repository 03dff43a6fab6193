"""Parts of the data under `augment` and `test_time`: augmented in training, cropped or in views in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...augment import Mixing, View
from ...augment.base import mixing
from ...augment.one_of import flattened
from ...augment.pipeline import TrainingSetInfo, maps, pipeline
from ...augment.tokens import Vocabulary
from ...augment.views import middle
from ...data import Sets
from ...data.batch import Batch
from ...errors import Problem, SpecError
from ...lazy import torch
from ...objectives import Objective, Supervised
from ...objectives.language import Language
from ...shapes import Shape
from ...spec import Experiment, Train
from ...spec.sections.augmentation import shape_after
from ...text.tokenizer import UNKNOWN
from .data_part import DataPart

if TYPE_CHECKING:
    from torch import Tensor

    from ...data.preprocess import Fitted

    Network = Callable[..., Any]

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

    def take(self, index: Tensor) -> Batch:
        batch = self.of.take(index)
        return self._with(batch, self.change) if self.change is not None else self._middle(batch)

    def without(self, name: str) -> DataPart:
        return replace(super().without(name), of=self.of.without(name))  # type: ignore[call-arg]

    def evenly(self, count: int) -> DataPart:
        return replace(self, of=self.of.evenly(count))

    def prefetch(self, indices: Tensor, size: int) -> None:
        self.of.prefetch(indices, size)

    def chunks(self, size: int) -> Iterator[Batch]:
        return (self._middle(batch) for batch in self.of.chunks(size))

    def answers(self, network: Network, size: int) -> Iterator[tuple[Any, Batch]]:
        if self.view is None:
            yield from super().answers(network, size)
            return
        for batch in self.of.chunks(size):
            look = _of_one(network, batch.inputs, batch.names.inputs.index(self.main))
            yield _pooled(look, self.objective, self.view.of(batch[self.main], self.size)), batch

    def _with(self, batch: Batch, change: Callable[[Tensor, Any], tuple[Tensor, Any]]) -> Batch:
        """Change the main input of a batch, and along with it what is a map of its size in other fields."""
        if not self.more:
            x, y = change(batch[self.main], batch.y)
            return self.batch({self.main: x, self.names.targets[0]: y})
        x, others = change(batch[self.main], {n: t for n, t in batch.fields.items() if n != self.main})
        return self.batch({self.main: x, **others})

    def _middle(self, batch: Batch) -> Batch:
        x = batch[self.main]
        if tuple(x.shape[2:]) == self.size:
            return batch
        others = {name: _along(x, t, self.size) for name, t in batch.fields.items() if name != self.main}
        return self.batch({self.main: middle(x, self.size), **others})


def augmented(
    parts: dict[str, DataPart],
    train: Train,
    objective: Supervised,
    preprocess: Sequence[Fitted] = (),
    names: Sequence[str] = (),
) -> dict[str, DataPart]:
    """Return the parts under `augment` and `test_time` of the spec; `parts` itself where it has neither.

    `names` are those of the tokens, where the inputs are texts.
    """
    if not (train.augment or train.test_time):
        return parts
    size = shape_after(train.augment, Shape(next(iter(parts.values())).x.shape[1:])).size

    def of(name: str, part: DataPart) -> DataPart:
        change = change_of(part, train, objective, preprocess, names) if name == "train" and train.augment else None
        return AugmentedPart(
            part.x, part.y, part, objective, size, change, train.test_time, more=part.more, names=part.names
        )

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
        others = {name: _along(part.x, table, size) for name, table in part.fields.items() if name != part.main}
        return part.changed(**others, **{part.main: middle(part.x, size)})

    return {name: of(part) for name, part in parts.items()}


def _middle_of(y: Tensor, size: tuple[int, ...]) -> Tensor:
    """Crop targets that are maps: classes (N, *size), or values (N, C, *size)."""
    return middle(y, size) if y.is_floating_point() else middle(y[:, None], size)[:, 0]


def training_loss(
    train: Train, objective: Supervised, parameters: Mapping[str, Tensor], *, weighted: bool = False
) -> Callable[[Any, Any], Tensor]:
    """Return the objective's training loss, which takes mixed targets where an augmentation mixes examples.

    `parameters` are those that the objective learns; `weighted` losses take the weights of examples.
    """
    mixes = any(isinstance(step, Mixing) for step in train.augment)
    return objective.training_loss(mixing if mixes else objective.weighing() if weighted else None, parameters)


def change_of(
    part: DataPart, train: Train, objective: Objective, preprocess: Sequence[Fitted], names: Sequence[str] = ()
) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    """Return the function that changes inputs and targets of a training batch as `augment` says."""
    from ...augment.colours import pixels

    def examples() -> Tensor:
        count = min(len(part), FITTED_EXAMPLES)
        return part.take(torch.arange(count, device=part.x.device) * len(part) // count)[part.main]

    # the device of a batch, which is not that of `x` where the part stays on disk
    device = part.take(torch.zeros(1, dtype=torch.long, device=part.x.device))[part.main].device
    coloured = any(step.colours for step in train.augment)
    seen = pixels(preprocess, device) if coloured else None
    ignored = objective.loss.ignores() if isinstance(objective, Supervised) else None
    outside = 0 if ignored is None else ignored
    unknown = names.index(UNKNOWN) if UNKNOWN in names else None
    tokens = Vocabulary(tuple(names), unknown, tells_next=isinstance(objective, Language))
    world = TrainingSetInfo(examples, seen, outside, frozenset(part.names.targets), tokens)
    return pipeline(train.augment, world)


def inference_call(
    train: Train, objective: Supervised, shape: Sequence[int], main: int = 0
) -> Callable[[Network, Sequence[Tensor]], Any]:
    """Return the function that calls a network on its inputs as an evaluation does: cropped, or by views.

    `shape` is that of an example of the input `main`, which is augmented; maps of its size are cropped along.
    """
    if not (train.augment or train.test_time):
        return lambda network, inputs: network(*inputs)
    size, view = shape_after(train.augment, Shape(shape)).size, train.test_time
    if view is not None:
        return lambda network, inputs: _pooled(_of_one(network, inputs, main), objective, view.of(inputs[main], size))

    def cropped(network: Network, inputs: Sequence[Tensor]) -> Any:
        x = inputs[main]
        return network(*(middle(x, size) if i == main else _along(x, t, size) for i, t in enumerate(inputs)))

    return cropped


def _of_one(network: Network, inputs: Sequence[Tensor], main: int) -> Network:
    """Return the network as a function of the input `main` alone, beside the others as they are."""
    return lambda x: network(*inputs[:main], x, *inputs[main + 1 :])


def _along(x: Tensor, other: Tensor, size: tuple[int, ...]) -> Tensor:
    """Crop a map of the size of `x` as `x` is cropped; return what is none as it is."""
    return _middle_of(other, size) if maps(x, other) else other


def _pooled(network: Network, objective: Supervised, views: Iterator[Tensor]) -> Tensor:
    """Combine the network's outputs for several views of the same examples, by the rule of the loss."""
    return objective.loss.averaged(torch.stack([objective.main(network(view)) for view in views]))
