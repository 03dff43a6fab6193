"""LeCun's initialisers, by fan_in alone."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from .scaled import FanScaled


class _Lecun(FanScaled):
    gain: NonNegativeFloat = Field(1.0, le=1e10, description="factor on the standard deviation")

    def std(self, fan_in: int, fan_out: int) -> float:
        return self.gain / math.sqrt(fan_in)


class LecunNormal(_Lecun):
    """Normal with variance 1/fan_in: inputs of variance 1 give sums of variance 1.

    Some books call this Glorot's, He's "without the factor of two". Keras cuts its own off at two deviations.
    Source: LeCun et al. 1998, Efficient BackProp, equation 16; Prince 2023, Understanding Deep Learning, notes of
    chapter 7.
    """

    kind: ClassVar[str] = "lecun_normal"


class InverseSqrt(LecunNormal):
    """Normal, divided by sqrt(fan_in): `lecun_normal` under the name of the code that does it.

    Source: Deitke, CNNs for Visual Recognition, section 6.3.
    """

    kind: ClassVar[str] = "inverse_sqrt"


class LecunUniform(_Lecun):
    """Uniform with variance 1/fan_in, so in +-sqrt(3/fan_in). Source: LeCun et al. 1998, Efficient BackProp."""

    kind: ClassVar[str] = "lecun_uniform"
    uniform: ClassVar[bool] = True
