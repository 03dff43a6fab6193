"""The augmentations of a spec, composed to a function of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .base import Augmentation, Mixed, Mixing, Moving, permutation
from .colours import Pixels
from .one_of import OneOf
from .tokens import Reordering, Replacing, Vocabulary, reordered, replaced
from .warps import Warp, can_combine, combined_move

if TYPE_CHECKING:
    from torch import Tensor

    Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass(frozen=True)
class TrainingSetInfo:
    """Properties of the training set that augmentations depend on."""

    examples: Callable[[], Tensor]
    """Returns some of its inputs."""
    pixels: Pixels | None = None
    """Map that undoes preprocessing; None for none."""
    outside_class: int = 0
    """Class number of positions from outside."""
    targets: frozenset[str] = frozenset()
    """Names of the targets, where a step is given several fields beside the input."""
    vocabulary: Vocabulary | None = None
    """The tokens of texts; None for other inputs."""


def pipeline(steps: Sequence[Augmentation], world: TrainingSetInfo) -> Step:
    """Return the function that augments inputs and targets of a batch; targets may become `Mixed`.

    In place of targets it takes a mapping of several fields by name too; maps of the input's size move along.
    """
    made = [_step(run, world) for run in runs(steps)]

    def changed(x: Tensor, y: Any) -> tuple[Tensor, Any]:
        for step in made:
            x, y = step(x, y)
        return x, y

    return changed


def runs(steps: Sequence[Augmentation]) -> list[list[Augmentation]]:
    """Group the steps in their order, so that warps that can be combined into one resampling are together."""
    found: list[list[Augmentation]] = [[step] for step in steps[:1]]
    for before, step in pairwise(steps):
        if isinstance(before, Warp) and isinstance(step, Warp) and can_combine(before, step):
            found[-1].append(step)
        else:
            found.append([step])
    return found


def _step(run: list[Augmentation], world: TrainingSetInfo) -> Step:
    first = run[0]
    if isinstance(first, OneOf):
        return first.choosing([_step([one], world) for one in first.of])
    if isinstance(first, Replacing | Reordering):
        assert world.vocabulary is not None
        tokens = world.vocabulary
        return replaced(first, tokens) if isinstance(first, Replacing) else reordered(first, tokens)
    if isinstance(first, Mixing):
        return lambda x, y: _mixed(first, x, y)
    if isinstance(first, Moving):
        return _moving(run, world)  # type: ignore[arg-type]
    seen = world.pixels if first.colours else None

    def examples() -> Tensor:
        x = world.examples()
        return x if seen is None else x * seen.scale + seen.shift

    change = first.fitted(examples)
    change = change if seen is None else seen.around(change)
    return lambda x, y: (change(x), y)


def _mixed(step: Mixing, x: Tensor, y: Tensor) -> tuple[Tensor, Mixed]:
    order = permutation(x)
    x, share = step.mix(x, x[order])
    return x, Mixed(y, y[order], share)


def _moving(run: list[Moving], world: TrainingSetInfo) -> Step:
    first = run[0]

    def moved(x: Tensor, y: Any) -> tuple[Tensor, Any]:
        move = combined_move(run, x) if isinstance(first, Warp) else first.draw(x)  # type: ignore[arg-type]
        found = move(x, first.filling())

        def along(other: Any, outside_class: int) -> Any:
            if not maps(x, other):
                return other
            if other.is_floating_point():
                return move(other, 0.0)
            return move(other[:, None], float(outside_class))[:, 0]

        if isinstance(y, dict):
            # a class of positions to be ignored is no number that an input could have
            outside = {name: world.outside_class if name in world.targets else 0 for name in y}
            y = {name: along(other, outside[name]) for name, other in y.items()}
        else:
            y = along(y, world.outside_class)
        return found, y

    return moved


def maps(x: Tensor, y: Any) -> bool:
    """Whether targets are maps of the inputs' size: of classes (N, *size), or of values (N, C, *size)."""
    if isinstance(y, Mixed) or x.dim() < 3:
        return False
    size = y.shape[2:] if y.is_floating_point() else y.shape[1:]
    return len(size) > 0 and size == x.shape[2:]
