"""Activations: one formula, applied to each value by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape
from .base import Example, Keeps, Layer, Plan, floats

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module

PAGE = """    Shapes: (*) -> (*), each value by itself.
    Cost: no MACs, as torch's counter has it.
    Errors: an input that is not of floats.
"""


class Pointwise(Layer):
    """A layer that works on each value by itself and keeps the shape; its class is called as torch calls its own.

    Shapes, cost and errors are the same for all: they are added to the docstring of each.
    """

    example: ClassVar[Example] = Example({}, [(4, 5, 5)], shape=(4, 5, 5))
    keeps: ClassVar[Keeps] = ("inputs",)
    keeps_a_value: ClassVar[int] = 0
    """Bytes that torch holds for the backward pass beside those, for each value."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        text = cls.__doc__ or ""
        if "Shapes:" not in text:
            cls.__doc__ = text.replace("    Source:", PAGE + "    Source:")

    def plan(self, *xs: Shape) -> Plan:
        floats(xs[0], self.kind)
        return Plan(shape=xs[0], keeps=self.keeps, keeps_more=self.keeps_a_value * xs[0].count)

    def module(self, *_: Shape) -> Module:
        made: Module = getattr(nn, type(self).__name__)(**self.options())
        return made


class ReLU(Pointwise):
    """max(0, x)

    Source: Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann machines". torch: ReLU.
    """

    kind: ClassVar[str] = "relu"

    keeps: ClassVar[Keeps] = ("output",)


class ReLU6(Pointwise):
    """min(max(0, x), 6)

    Source: Howard et al. 2017, arXiv:1704.04861. torch: ReLU6.
    """

    kind: ClassVar[str] = "relu6"


class LeakyReLU(Pointwise):
    """x where x > 0, else negative_slope * x

    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models". torch: LeakyReLU.
    """

    kind: ClassVar[str] = "leaky_relu"
    negative_slope: float = Field(0.01, description="slope below 0")


class PReLU(Pointwise):
    """x where x > 0, else a * x with a learned slope a, one for all channels or one for each

    The optimizer's weight_decay leaves the slopes out, as torch's documentation advises, unless `train.groups` gives
    them one.

    Shapes: (*) -> (*), each value by itself.
    Cost: no MACs, as torch's counter has it.
    Errors: `num_parameters` that is neither 1 nor the number of channels; an input that is not of floats.
    Source: He et al. 2015, arXiv:1502.01852, section 2.1. torch: PReLU.
    """

    kind: ClassVar[str] = "prelu"
    num_parameters: PositiveInt = Field(1, description="slopes: 1, or as many as channels")
    init: float = Field(0.25, description="value of each slope at the start")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({"num_parameters": 4}, [(4, 5, 5)], shape=(4, 5, 5), params=4)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "prelu")
        _one_or_each(self.num_parameters, "slopes", x, "prelu")
        return Plan(shape=x, weights={"weight": (self.num_parameters,)})


class RReLU(Pointwise):
    """x where x > 0, else a * x; while training a is drawn anew for each value, then it is (lower + upper) / 2

    Source: Xu et al. 2015, arXiv:1505.00853, section 2.4. torch: RReLU.
    """

    kind: ClassVar[str] = "rrelu"
    lower: float = Field(1 / 8, description="smallest slope that is drawn")
    upper: float = Field(1 / 3, description="largest slope that is drawn")

    keeps_a_value: ClassVar[int] = 4  # the slope

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lower > self.upper:
            raise ValueError(f"`lower` = {self.lower} is above `upper` = {self.upper}")
        return self


class ELU(Pointwise):
    """x where x > 0, else alpha * (exp(x) - 1)

    Source: Clevert et al. 2015, arXiv:1511.07289, section 3. torch: ELU.
    """

    kind: ClassVar[str] = "elu"
    alpha: float = Field(1.0, description="-alpha is the limit for small x")


class SELU(Pointwise):
    """1.0507 * (x where x > 0, else 1.6733 * (exp(x) - 1)): mean 0 and variance 1 stay what they are

    They do where the weights begin with `init: lecun_normal`; torch's documentation warns against `he_normal` here,
    whose factor of two is for ReLU.

    Source: Klambauer et al. 2017, arXiv:1706.02515, equation 2. torch: SELU.
    """

    kind: ClassVar[str] = "selu"


class CELU(Pointwise):
    """x where x > 0, else alpha * (exp(x / alpha) - 1)

    Source: Barron 2017, arXiv:1704.07483. torch: CELU.
    """

    kind: ClassVar[str] = "celu"
    alpha: float = Field(1.0, gt=0, description="-alpha is the limit for small x")


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
        _one_or_each(self.num_parameters, "betas", x, "swish")
        return Plan(shape=x, weights={"beta": (self.num_parameters,)}, keeps_more=x.bytes)

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


class Threshold(Pointwise):
    """x where x is above the threshold, else `value`

    Source: Konda et al. 2014, arXiv:1402.3337, section 3. torch: Threshold.
    """

    kind: ClassVar[str] = "threshold"
    threshold: float = Field(description="x passes where it is above")
    value: float = Field(description="what stands for every other x")

    example: ClassVar[Example] = Example({"threshold": 0.5, "value": 0}, [(4, 5, 5)], shape=(4, 5, 5))


def _one_or_each(number: int, what: str, x: Shape, kind: str) -> None:
    """Refuse learned values that are neither one nor as many as channels."""
    if number not in (1, x.channels):
        raise ShapeError(
            f"{kind} has num_parameters = {number} {what} for the {x.channels} channels of {{0}}",
            hint=f"Give 1, or {x.channels}: `${{x.channels}}`.",
            inputs=[x],
        )
