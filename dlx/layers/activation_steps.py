"""Step functions. Their gradient is 0, so that layers before them do not learn by gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..shapes import Shape
from .activation import Pointwise
from .base import Saved

if TYPE_CHECKING:
    from torch.nn import Module


class _Step(Pointwise):
    """Base class of step functions, whose gradient is 0; torch saves nothing for them."""

    saved: ClassVar[Saved] = ()

    def module(self, *_: Shape) -> Module:
        from ..modules import activation

        made: Module = getattr(activation, type(self).__name__)(**self.options())
        return made


class Heaviside(_Step):
    """0 where x < 0, 1 where x > 0: the hard threshold of the perceptron

    Source: Rosenblatt 1958, "The perceptron"; at 0 it is 1, as in Prince 2023, Understanding Deep Learning, chapter 3
        (problem 3.8) and in CS231n. torch: none; torch.heaviside has no gradient at all, here it is 0.
    """

    kind: ClassVar[str] = "heaviside"
    at_zero: float = Field(1.0, description="what stands for x = 0")


class Sign(_Step):
    """-1 where x < 0, 1 where x > 0: a threshold with outputs -1 and 1

    Source: Rosenblatt 1958, "The perceptron", with classes -1 and 1; at 0 it is 0, as torch.sign has it, where a
        perceptron takes a side (`at_zero: 1`). torch: none; torch.sign is a function.
    """

    kind: ClassVar[str] = "sign"
    at_zero: float = Field(0.0, description="what stands for x = 0")


class Rect(_Step):
    """1 where 0 <= x <= 1, else 0: a box

    Source: Prince 2023, Understanding Deep Learning, equation 3.15 (problem 3.8). torch: none.
    """

    kind: ClassVar[str] = "rect"
