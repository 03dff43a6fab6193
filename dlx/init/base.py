"""What every initialiser is."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from ..lazy import nn
from ..registry import FAMILIES, Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

INITIALIZERS: Registry[Initializer] = FAMILIES["init"]


@family(INITIALIZERS)
class Initializer(Declared):
    """The root of all initialisers.

    They touch weights of two and more axes and the biases beside those. Scales of norms keep their ones, or what
    `values: {weight: 0}` on the layer says.
    """

    touches: ClassVar[bool] = True

    def of(self, name: str) -> Initializer:
        """The initialiser of the node called `name`."""
        return self

    def within(self, scope: str) -> Initializer:
        """The initialiser for a part of a whole, whose NODE is called `scope/NODE` there."""
        return self

    def patterns(self) -> Iterator[str]:
        """Names with `*` that must match a node with weights."""
        return iter(())

    def fill(self, weight: Tensor) -> None:
        """Draw the values of one weight, in place, from torch's global generator."""
        raise TypeError(f"{type(self).__name__} has no fill()")

    def fill_bias(self, bias: Tensor, weight: Tensor | None) -> None:
        """Set a bias, in place; `weight` stands beside it, filled already."""
        nn.init.zeros_(bias)


class Default(Initializer):
    """What torch's layers do by themselves: uniform in +-1/sqrt(fan_in) for linear and conv, biases too."""

    kind: ClassVar[str] = "default"
    touches: ClassVar[bool] = False

    def fill(self, weight: Tensor) -> None:
        """Nothing."""


def named(name: str, pattern: str) -> bool:
    """Whether a pattern means the node called `name`, or a scope around it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")
