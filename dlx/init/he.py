"""He's initialisers, for ReLU."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from .scaled import FanScaled


class _He(FanScaled):
    mode: Literal["fan_in", "fan_out"] = Field("fan_in", description="keep the variance going forward or backward")
    a: float = Field(0.0, description="slope below zero of the leaky ReLU or PReLU that follows")

    def std(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(2.0 / (1 + self.a**2)) / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)


class HeNormal(_He):
    """Normal with variance 2/fan, for ReLU; 2/((1 + a^2) fan) for a slope of `a` below zero.

    The fan of a convolution counts its taps: 2/(9 C) for 3x3 on C channels. torch: kaiming_normal_, whose `a` and
    nonlinearity "leaky_relu" are this `a`. Source: He et al. 2015, arXiv:1502.01852, equations 10 and 15.
    """

    kind: ClassVar[str] = "he_normal"


class HeUniform(_He):
    """Uniform with variance 2/fan, for ReLU. torch: kaiming_uniform_. Source: He et al. 2015, arXiv:1502.01852."""

    kind: ClassVar[str] = "he_uniform"
    uniform: ClassVar[bool] = True
