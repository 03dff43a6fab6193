"""How weights begin. `default` leaves each layer as torch makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from .lazy import nn
from .registry import Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

INITIALIZERS: Registry[Initializer] = Registry("initialiser", "dlx.init", "dlx.initializers")


@family(INITIALIZERS)
class Initializer(Declared):
    """The root of all initialisers. They touch weights of two and more axes; the biases beside those become zero."""

    touches: ClassVar[bool] = True

    def fill(self, weight: Tensor) -> None:
        """Draw the values of one weight, in place, from torch's global generator."""
        raise TypeError(f"{type(self).__name__} has no fill()")


class Default(Initializer):
    """What torch's layers do by themselves: uniform in +-1/sqrt(fan_in) for linear and conv, biases too."""

    kind: ClassVar[str] = "default"
    touches: ClassVar[bool] = False

    def fill(self, weight: Tensor) -> None:
        """Nothing."""


class _He(Initializer):
    mode: Literal["fan_in", "fan_out"] = Field("fan_in", description="keep the variance going forward or backward")


class HeNormal(_He):
    """Normal with variance 2/fan, for ReLU. Source: He et al. 2015, arXiv:1502.01852, equation 10."""

    kind: ClassVar[str] = "he_normal"

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, mode=self.mode, nonlinearity="relu")


class HeUniform(_He):
    """Uniform with variance 2/fan, for ReLU. Source: He et al. 2015, arXiv:1502.01852."""

    kind: ClassVar[str] = "he_uniform"

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_uniform_(weight, mode=self.mode, nonlinearity="relu")


class GlorotNormal(Initializer):
    """Normal with variance 2/(fan_in + fan_out). Source: Glorot & Bengio 2010, equation 12."""

    kind: ClassVar[str] = "glorot_normal"

    def fill(self, weight: Tensor) -> None:
        nn.init.xavier_normal_(weight)


class GlorotUniform(Initializer):
    """Uniform with variance 2/(fan_in + fan_out). Source: Glorot & Bengio 2010, equation 16."""

    kind: ClassVar[str] = "glorot_uniform"

    def fill(self, weight: Tensor) -> None:
        nn.init.xavier_uniform_(weight)
