"""Moving averages."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ..schedules import Timeline
from .base import Average


class EMA(Average):
    """Exponential moving average: m = decay * m + (1 - decay) * w after each update, from the first weights on.

    With `warmup` the decay is min(decay, (1 + n) / (10 + n)) after n updates, as TensorFlow's
    ExponentialMovingAverage has it, so that a short training is not ruled by its first weights. Batch norms keep the
    same average of their statistics, as timm's ModelEma does.
    torch: swa_utils.AveragedModel with get_ema_multi_avg_fn.
    """

    kind: ClassVar[str] = "ema"
    renews: ClassVar[bool] = False
    decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.999, description="what the average keeps of itself")
    warmup: bool = Field(False, description="a smaller decay at first: (1 + n) / (10 + n)")

    def share(self, step: int, count: int, timeline: Timeline) -> float | None:
        if count == 0:
            return 1.0
        return 1 - (min(self.decay, (1 + count) / (10 + count)) if self.warmup else self.decay)
