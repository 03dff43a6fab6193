"""Glorot's initialisers, by fan_in + fan_out."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from .scaled import FanScaled


class _Glorot(FanScaled):
    gain: NonNegativeFloat = Field(1.0, le=1e10, description="factor on the standard deviation; 5/3 suits tanh")

    def std(self, fan_in: int, fan_out: int) -> float:
        return self.gain * math.sqrt(2.0 / float(fan_in + fan_out))


class GlorotNormal(_Glorot):
    """Normal with variance 2/(fan_in + fan_out). The other reading, "He without the two", is `lecun_normal`.

    torch: xavier_normal_. Source: Glorot & Bengio 2010, equation 12.
    """

    kind: ClassVar[str] = "glorot_normal"


class GlorotUniform(_Glorot):
    """Uniform with variance 2/(fan_in + fan_out). torch: xavier_uniform_.

    Source: Glorot & Bengio 2010, equation 16.
    """

    kind: ClassVar[str] = "glorot_uniform"
    uniform: ClassVar[bool] = True
