"""Averages of the weights along a training: what is judged and kept in place of the last weights."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from .rational import rounded_up
from .registry import Declared, Registry, family
from .schedules import Span

AVERAGES: Registry[Average] = Registry("average", "dlx.averages", "dlx.averages")
Start = Annotated[float, Field(ge=0, lt=1)]
START = "share of the training's updates after which it begins"


@family(AVERAGES)
class Average(Declared):
    """The root of all averages: a pure function from an update to what its weights count."""

    renews: ClassVar[bool] = True
    """Whether statistics of batch norms are computed anew for the average, where the spec does not say."""

    def share(self, step: int, count: int, span: Span) -> float | None:
        """What the weights after `step` updates count in the average, which holds `count` of them; None: they wait.

        The average m becomes m + share * (w - m), so it is w where the share is 1.
        """
        raise TypeError(f"{type(self).__name__} has no share()")


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

    def share(self, step: int, count: int, span: Span) -> float | None:
        if count == 0:
            return 1.0
        return 1 - (min(self.decay, (1 + count) / (10 + count)) if self.warmup else self.decay)


class Polyak(Average):
    """The plain mean of the weights after every update from `start` on.

    Source: Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging. torch:
    swa_utils.AveragedModel after every update.
    """

    kind: ClassVar[str] = "polyak"
    start: Start = Field(0.0, description=START)

    def share(self, step: int, count: int, span: Span) -> float | None:
        return 1 / (count + 1) if step >= rounded_up(self.start, span.steps) else None


class SWA(Average):
    """Stochastic weight averaging: the plain mean of the weights at `start` and `every` some updates after it.

    The rate has to stay high for it, constant or cyclic; that is for the schedule to say.
    Source: Izmailov et al. 2018, arXiv:1803.05407, algorithm 1. torch: swa_utils.AveragedModel.
    """

    kind: ClassVar[str] = "swa"
    start: Start = Field(0.75, description=START)
    every: PositiveInt | None = Field(None, description="updates between two that count; else an epoch")

    def share(self, step: int, count: int, span: Span) -> float | None:
        since = step - rounded_up(self.start, span.steps)
        return 1 / (count + 1) if since >= 0 and since % (self.every or span.per_epoch) == 0 else None
