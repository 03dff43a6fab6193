"""Activations with a slope below zero."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, PositiveInt, model_validator

from ..shapes import Shape
from .activation import Pointwise, one_or_each
from .base import Example, Plan, floats


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
        one_or_each(self.num_parameters, "slopes", x, "prelu")
        return Plan(shape=x, weights={"weight": (self.num_parameters,)})


class RReLU(Pointwise):
    """x where x > 0, else a * x with a random for each value in training, and (lower + upper) / 2 in evaluation

    Source: Xu et al. 2015, arXiv:1505.00853, section 2.4. torch: RReLU.
    """

    kind: ClassVar[str] = "rrelu"
    lower: float = Field(1 / 8, description="smallest slope that is drawn")
    upper: float = Field(1 / 3, description="largest slope that is drawn")

    saved_bytes_per_value: ClassVar[int] = 4  # the slope

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lower > self.upper:
            raise ValueError(f"`lower` = {self.lower} is above `upper` = {self.upper}")
        return self
