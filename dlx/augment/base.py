"""The base classes of augmentations: random changes of a batch on its device, drawn for each example.

They are written in torch and do not use kornia's classes (0.9, which has most of them): on a batch of 128 CIFAR
pictures they take a tenth to all of kornia's time, a quarter for crops (benchmarks/augment.py), import nothing,
transform masks as well, and draw on the device from torch's global generators, whose state a resumed run restores;
kornia draws on the host by default, and several consecutive warps here are one resampling.
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
"""Preprocessing steps that scale and shift, by value or channel, and so can be undone."""


@family(AUGMENTATIONS)
class Augmentation(Declared):
    """Base class of all augmentations.

    A subclass has a `kind`, pydantic fields and `apply`, or `fitted` where it depends on the training set. Defining
    the class registers it.
    """

    required = ("apply",)

    ranks: ClassVar[tuple[int, ...]] = tuple(RANKS)
    """Numbers of axes that an example may have."""
    of_texts: ClassVar[bool] = False
    """Whether it changes the tokens of a text."""
    colours: ClassVar[bool] = False
    """Whether the augmentation needs brightness from 0 to 1; preprocessing is then undone before it and redone
    after it."""

    def output_shape(self, x: Shape) -> Shape:
        """Return the shape of an augmented example of shape `x`. ShapeError where the augmentation does not fit
        it.
        """
        if x.dtype != "float":
            raise ShapeError(
                f"{self.kind} changes floats, and the data gives {x} of dtype {x.dtype}", "Leave it out."
            )
        if x.rank not in self.ranks:
            fits = " and ".join(RANKS[rank] for rank in self.ranks)
            raise ShapeError(f"{self.kind} is for {fits}, and what comes in is {x}", hint="Leave it out.")
        return x

    def fitted(self, examples: Callable[[], Tensor]) -> Change:
        """Return the function that changes a batch (N, *); `examples` returns some training inputs."""
        return self.apply

    def apply(self, x: Tensor) -> Tensor:
        """Change each example of a batch (N, *) at random."""
        raise TypeError(f"{type(self).__name__} has no apply()")


class Moving(Augmentation):
    """Base class of augmentations that move positions: inputs and maps of their size are moved alike."""

    keep_targets: bool = Field(
        False, description="leave targets that are no map of the input: they do not depend on where things are"
    )

    @classmethod
    def first_field(cls) -> str | None:
        return next((name for name in cls.model_fields if name != "keep_targets"), None)

    def draw(self, x: Tensor) -> Move:
        """Draw random numbers for a batch like `x`; return the function that moves it, or maps of its size.

        The second argument of that function is the value of positions from outside.
        """
        raise TypeError(f"{type(self).__name__} has no draw()")

    def filling(self) -> float:
        """Return the value of input positions from outside."""
        return float(getattr(self, "fill", 0.0))

    def apply(self, x: Tensor) -> Tensor:
        return self.draw(x)(x, self.filling())


@family(VIEWS)
class View(Declared):
    """Base class of the ways to evaluate an example several times (test-time augmentation)."""

    required = ("of",)

    def check(self, x: Shape, size: tuple[int, ...]) -> None:
        """Raise a ShapeError if examples of shape `x` cannot be shown at `size`, the input size of the network."""

    def of(self, x: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
        """Yield the views (N, C, *size) of a batch (N, C, *larger size)."""
        raise TypeError(f"{type(self).__name__} has no of()")


@dataclass(frozen=True)
class Mixed:
    """Two targets for each example, and the weight of the first."""

    first: Tensor
    second: Tensor
    share: Tensor


class Mixing(Augmentation):
    """Base class of augmentations that mix each example with another one of its batch, and their targets alike."""

    def mix(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch with another one; return the mixture, and the weight of `x` in it, a scalar."""
        raise TypeError(f"{type(self).__name__} has no mix()")

    def apply(self, x: Tensor) -> Tensor:
        return self.mix(x, x[permutation(x)])[0]


def mixing(loss: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """Wrap a loss for mixed targets: lam * loss(output, a) + (1 - lam) * loss(output, b)."""

    def mixed(output: Any, target: Any) -> Tensor:
        if not isinstance(target, Mixed):
            return loss(output, target)
        lam = target.share
        return lam * loss(output, target.first) + (1 - lam) * loss(output, target.second)

    return mixed


# --- drawing, for each example of a batch --------------------------------------------------------------------------


def uniform(x: Tensor, ends: Sequence[float], *more: int) -> Tensor:
    """Draw uniform numbers (N, *more) between the two `ends`."""
    low, high = ends
    return torch.rand(len(x), *more, device=x.device) * (high - low) + low


def bernoulli_mask(x: Tensor, p: float) -> Tensor:
    """Select each example with probability `p`; the mask has as many axes as the batch."""
    return per_example(torch.rand(len(x), device=x.device) < p, x)


def per_example(values: Tensor, x: Tensor) -> Tensor:
    """Reshape values (N,) to as many axes as the batch has."""
    return values.view(-1, *(1,) * (x.dim() - 1))


def coordinates(columns: Tensor, rows: Tensor) -> Tensor:
    """Stack coordinates on a new last axis, the horizontal one first."""
    return torch.stack([columns + 0 * rows, rows + 0 * columns], -1)


def permutation(x: Tensor) -> Tensor:
    """Return the indices of a batch's examples in random order."""
    return torch.randperm(len(x), device=x.device)


def apply_with_probability(p: float, x: Tensor, changed: Tensor) -> Tensor:
    """Take the changed example with probability `p`, else the original."""
    return changed if p == 1 else torch.where(bernoulli_mask(x, p), changed, x)
