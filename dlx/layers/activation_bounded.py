"""Activations that squash or shrink each value by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from .activation import Pointwise
from .base import Saved

if TYPE_CHECKING:
    from typing import Self


class Sigmoid(Pointwise):
    """1 / (1 + exp(-x))

    Source: Prince 2023, Understanding Deep Learning, section 5.4. torch: Sigmoid.
    """

    kind: ClassVar[str] = "sigmoid"

    saved: ClassVar[Saved] = ("output",)


class LogSigmoid(Pointwise):
    """log(1 / (1 + exp(-x))), computed without overflow

    Source: the logarithm of `sigmoid`. torch: LogSigmoid.
    """

    kind: ClassVar[str] = "log_sigmoid"

    saved_bytes_per_value: ClassVar[int] = 4  # exp(-|x|)


class Tanh(Pointwise):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))

    Source: LeCun et al. 1998, "Efficient backprop", section 4.4. torch: Tanh.
    """

    kind: ClassVar[str] = "tanh"

    saved: ClassVar[Saved] = ("output",)


class Softsign(Pointwise):
    """x / (1 + |x|)

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
        section 3. torch: Softsign.
    """

    kind: ClassVar[str] = "softsign"

    saved_bytes_per_value: ClassVar[int] = 4  # 1 + |x|


class Hardtanh(Pointwise):
    """min(max(min_val, x), max_val)

    Source: Collobert 2004, "Large scale machine learning". torch: Hardtanh.
    """

    kind: ClassVar[str] = "hardtanh"
    min_val: float = Field(-1.0, description="smallest result")
    max_val: float = Field(1.0, description="largest result")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_val >= self.max_val:
            raise ValueError(f"`min_val` = {self.min_val} is not below `max_val` = {self.max_val}")
        return self


class Hardsigmoid(Pointwise):
    """min(max(0, x + 3), 6) / 6

    Source: Howard et al. 2019, arXiv:1905.02244, section 5.2. torch: Hardsigmoid.
    """

    kind: ClassVar[str] = "hardsigmoid"


class Hardshrink(Pointwise):
    """x where |x| > lambd, else 0

    Source: Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage". torch: Hardshrink.
    """

    kind: ClassVar[str] = "hardshrink"
    lambd: float = Field(0.5, description="values up to this far from 0 become 0")


class Softshrink(Pointwise):
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0

    Source: Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage". torch: Softshrink.
    """

    kind: ClassVar[str] = "softshrink"
    lambd: float = Field(0.5, ge=0, description="values up to this far from 0 become 0, the others move by it")


class Tanhshrink(Pointwise):
    """x - tanh(x)

    Source: the remainder of `tanh`. torch: Tanhshrink.
    """

    kind: ClassVar[str] = "tanhshrink"

    saved: ClassVar[Saved] = ()
    saved_bytes_per_value: ClassVar[int] = 4  # tanh(x)
