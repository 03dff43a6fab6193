"""Losses of values: distances between output and target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from ..lazy import F
from .base import Loss

if TYPE_CHECKING:
    from .base import Function


class OfValues(Loss):
    """Base class of losses of values."""

    wants: ClassVar[Literal["classes", "values"]] = "values"


class SquaredError(OfValues):
    """(output - target)^2. torch: mse_loss, which for "mean" divides by every value, not by every example.

    Textbooks often have the sum: `reduction: sum`. Shapes: outputs and targets (N, *target).
    """

    kind: ClassVar[str] = "squared_error"

    def function(self) -> Function:
        return self.from_torch(F.mse_loss)


class AbsoluteError(OfValues):
    """|output - target|: the best single answer is the median. torch: l1_loss.

    Shapes: outputs and targets (N, *target).
    """

    kind: ClassVar[str] = "absolute_error"

    def function(self) -> Function:
        return self.from_torch(F.l1_loss)


class Huber(OfValues):
    """error^2 / 2 up to `delta`, and delta * (|error| - delta/2) beyond. torch: huber_loss.

    Shapes: outputs and targets (N, *target). Source: Huber 1964, Robust estimation of a location parameter.
    """

    kind: ClassVar[str] = "huber"
    delta: PositiveFloat = Field(1.0, description="gap from which it grows as a line")

    def function(self) -> Function:
        return self.from_torch(F.huber_loss, delta=self.delta)


class SmoothL1(OfValues):
    """error^2 / (2 beta) up to `beta`, and |error| - beta/2 beyond: `huber` with delta = beta, divided by beta.

    Shapes: outputs and targets (N, *target). torch: smooth_l1_loss. Source: Girshick 2015, arXiv:1504.08083,
    equation 3.
    """

    kind: ClassVar[str] = "smooth_l1"
    beta: PositiveFloat = Field(1.0, description="gap from which it grows as a line of slope 1")

    def function(self) -> Function:
        return self.from_torch(F.smooth_l1_loss, beta=self.beta)
