"""The base class of initialisers."""

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
    """Base class of all initialisers.

    They set weights with two or more axes, and the biases of the same layers. Scales of norms stay at one, or at what
    `values: {weight: 0}` of the layer says. A subclass has a `kind`, pydantic fields, and `fill`. Defining the class
    registers it.
    """

    required = ("fill",)

    touches: ClassVar[bool] = True
    """Whether the initialiser changes weights at all."""

    def of(self, name: str) -> Initializer:
        """Return the initialiser of the node `name`."""
        return self

    def within(self, scope: str) -> Initializer:
        """Return the initialiser for a part of the network, in which node NODE is called `scope/NODE`."""
        return self

    def patterns(self) -> Iterator[str]:
        """Return the name patterns, each of which must match a node with weights."""
        return iter(())

    def fill(self, weight: Tensor) -> None:
        """Set the values of a weight in place, with torch's global generator."""
        raise TypeError(f"{type(self).__name__} has no fill()")

    def fill_bias(self, bias: Tensor, weight: Tensor | None) -> None:
        """Set a bias in place; `weight` is the weight of the same layer, set before."""
        nn.init.zeros_(bias)


class Default(Initializer):
    """Keep torch's own initialisation: uniform in +-1/sqrt(fan_in) for linear and conv, for biases too."""

    kind: ClassVar[str] = "default"
    touches: ClassVar[bool] = False

    def fill(self, weight: Tensor) -> None:
        """Leave the weight unchanged."""


def named(name: str, pattern: str) -> bool:
    """Whether a pattern matches the node `name`, or a scope around it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")
