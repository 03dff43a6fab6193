"""Smooth activations, and piecewise approximations of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..shapes import Shape
from .activation import Pointwise, one_or_each
from .base import Example, Plan, floats

if TYPE_CHECKING:
    from torch.nn import Module


class GELU(Pointwise):
    """x * Phi(x), where Phi is the normal distribution function

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2. torch: GELU.
    """

    kind: ClassVar[str] = "gelu"
    approximate: Literal["none", "tanh"] = Field(
        "none", description='"tanh" takes x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3)))'
    )


class SiLU(Pointwise):
    """x * sigmoid(x): swish with beta = 1

    Source: Elfwing et al. 2017, arXiv:1702.03118, section 2. torch: SiLU.
    """

    kind: ClassVar[str] = "silu"


class Swish(Pointwise):
    """x * sigmoid(beta * x) with a learned beta, one for all channels or one for each

    With beta = 1 this is `silu`; a large beta comes near `relu`, beta = 0 is x / 2.

    Shapes: (*) -> (*), each value by itself.
    Cost: no MACs, as torch's counter has it.
    Errors: `num_parameters` that is neither 1 nor the number of channels; an input that is not of floats.
    Source: Ramachandran et al. 2017, arXiv:1710.05941, section 4; Prince 2023, Understanding Deep Learning, figure
        3.13f. torch: none.
    """

    kind: ClassVar[str] = "swish"
    init: float = Field(1.0, description="value of each beta at the start")
    num_parameters: PositiveInt = Field(1, description="betas: 1, or as many as channels")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({"num_parameters": 4}, [(4, 5, 5)], shape=(4, 5, 5), params=4)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "swish")
        one_or_each(self.num_parameters, "betas", x, "swish")
        return Plan(shape=x, weights={"beta": (self.num_parameters,)}, saved_bytes=x.bytes)

    def module(self, *_: Shape) -> Module:
        from ..modules import activation

        return activation.Swish(**self.options())


class Mish(Pointwise):
    """x * tanh(softplus(x))

    Source: Misra 2019, arXiv:1908.08681, section 3. torch: Mish.
    """

    kind: ClassVar[str] = "mish"


class Hardswish(Pointwise):
    """x * min(max(0, x + 3), 6) / 6

    Source: Howard et al. 2019, arXiv:1905.02244, section 5.2. torch: Hardswish.
    """

    kind: ClassVar[str] = "hardswish"


class Softplus(Pointwise):
    """log(1 + exp(beta * x)) / beta, and simply x where beta * x is above the threshold

    Source: Dugas et al. 2000, "Incorporating second-order functional knowledge". torch: Softplus.
    """

    kind: ClassVar[str] = "softplus"
    beta: float = Field(1.0, gt=0, description="sharpness of the bend")
    threshold: float = Field(20.0, description="where beta * x is above it, the result is x")
