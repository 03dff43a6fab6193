"""What every augmentation is: a random change of a whole batch, on its device, drawn for each example by itself.

All of them are a few lines of torch rather than kornia's classes (0.9, which has most of them): on a batch of 128
CIFAR pictures they take a tenth to all of kornia's time, a quarter for crops (benchmarks/augment.py), import nothing,
move masks along, and draw on the device from torch's global generators, which a resumed run brings back; kornia
draws on the host if not told otherwise, and several warps in a row here are one look at the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..lazy import torch
from ..registry import FAMILIES, Declared, Registry, family
from ..shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor

    Change = Callable[[Tensor], Tensor]
    Move = Callable[[Tensor, float], Tensor]

AUGMENTATIONS: Registry[Augmentation] = FAMILIES["augmentation"]
VIEWS: Registry[View] = FAMILIES["view"]

Probability = Annotated[float, Field(ge=0, le=1)]
RANKS = {
    1: "vectors (features,)",
    2: "signals (channels, length)",
    3: "pictures (channels, height, width)",
    4: "volumes (channels, depth, height, width)",
}


UNDONE = ("center", "standardize", "normalize", "rescale")
"""Steps of preprocessing that multiply and add, by value or channel."""


@family(AUGMENTATIONS)
class Augmentation(Declared):
    """The root of all augmentations."""

    required = ("apply",)

    ranks: ClassVar[tuple[int, ...]] = tuple(RANKS)
    """How many axes an example may have."""
    colours: ClassVar[bool] = False
    """Whether it works on brightness from 0 to 1; then preprocessing is undone before it and done again after it."""

    def output_shape(self, x: Shape) -> Shape:
        """The shape of an example afterwards. ShapeError where it does not fit one of shape `x`."""
        if x.dtype != "float":
            raise ShapeError(
                f"{self.kind} changes floats, and the data gives {x} of dtype {x.dtype}", "Leave it out."
            )
        if x.rank not in self.ranks:
            fits = " and ".join(RANKS[rank] for rank in self.ranks)
            raise ShapeError(f"{self.kind} is for {fits}, and what comes in is {x}", hint="Leave it out.")
        return x

    def fitted(self, examples: Callable[[], Tensor]) -> Change:
        """The change of a batch (N, *); `examples` gives some of the training set, for what depends on it."""
        return self.apply

    def apply(self, x: Tensor) -> Tensor:
        """A batch (N, *), each example changed at random by itself."""
        raise TypeError(f"{type(self).__name__} has no apply()")


class Moving(Augmentation):
    """What moves positions: it draws once for each example, and moves inputs and maps of their size alike."""

    keep_targets: bool = Field(
        False, description="leave targets that are no map of the input: they do not depend on where things are"
    )

    @classmethod
    def first_field(cls) -> str | None:
        return next((name for name in cls.model_fields if name != "keep_targets"), None)

    def draw(self, x: Tensor) -> Move:
        """What is done to a batch like `x`, and to maps of its size; the second argument fills what comes in."""
        raise TypeError(f"{type(self).__name__} has no draw()")

    def filling(self) -> float:
        """The value of inputs at positions that come in from outside."""
        return float(getattr(self, "fill", 0.0))

    def apply(self, x: Tensor) -> Tensor:
        return self.draw(x)(x, self.filling())


@family(VIEWS)
class View(Declared):
    """The root of all ways to look at an example several times."""

    required = ("of",)

    def check(self, x: Shape, size: tuple[int, ...]) -> None:
        """ShapeError where examples of shape `x` cannot be shown at `size`, the size that the network takes."""

    def of(self, x: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        """The views of a batch (N, C, *there), each (N, C, *size)."""
        raise TypeError(f"{type(self).__name__} has no of()")


@dataclass(frozen=True)
class Mixed:
    """Two targets for each example of a batch, and the share of the first."""

    first: Tensor
    second: Tensor
    share: Tensor


class Mixing(Augmentation):
    """What mixes each example with another one of its batch, and their targets in the same proportion."""

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """A batch mixed with the same batch in another order, and the share of the first, a scalar."""
        raise TypeError(f"{type(self).__name__} has no mix()")

    def apply(self, x: Tensor) -> Tensor:
        return self.mix(x, x[permutation(x)])[0]


def mixing(loss: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """A loss that also takes targets that are mixed: lam * loss(output, a) + (1 - lam) * loss(output, b)."""

    def mixed(output: Any, target: Any) -> Tensor:
        if not isinstance(target, Mixed):
            return loss(output, target)
        lam = target.share
        return lam * loss(output, target.first) + (1 - lam) * loss(output, target.second)

    return mixed


# --- drawing, for each example of a batch --------------------------------------------------------------------------


def uniform(x: Tensor, ends: Sequence[float], *more: int) -> Tensor:
    """Numbers from one end to the other, (N, *more)."""
    low, high = ends
    return torch.rand(len(x), *more, device=x.device) * (high - low) + low


def bernoulli_mask(x: Tensor, p: float) -> Tensor:
    """Which examples of a batch are taken, each with probability `p`; as many axes as the batch."""
    return per_example(torch.rand(len(x), device=x.device) < p, x)


def per_example(values: Tensor, x: Tensor) -> Tensor:
    """A value for each example, (N,), with as many axes as the batch."""
    return values.view(-1, *(1,) * (x.dim() - 1))


def coordinates(columns: Tensor, rows: Tensor) -> Tensor:
    """Places from their parts, the horizontal one first on a new last axis."""
    return torch.stack([columns + 0 * rows, rows + 0 * columns], -1)


def permutation(x: Tensor) -> Tensor:
    """The numbers of a batch's examples in a random order."""
    return torch.randperm(len(x), device=x.device)


def apply_with_probability(p: float, x: Tensor, changed: Tensor) -> Tensor:
    """The changed example with probability `p`, else the example."""
    return changed if p == 1 else torch.where(bernoulli_mask(x, p), changed, x)
