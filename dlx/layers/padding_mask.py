"""Where a padded text has ended, and how long it is: from its integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..shapes import Shape
from .base import AxisMap, Example, Layer, Plan

if TYPE_CHECKING:
    from torch.nn import Module


class PaddingMask(Layer):
    """True where a text has ended: at the tokens of padding, as `key_padding_mask` wants it.

    Shapes: integers (*) -> (*) of truth values.
    Cost: nothing learned; no MACs.
    Errors: an input that is not of integers.
    Source: Vaswani et al. 2017, "Attention is all you need", section 3.2.3. torch: none; it is x == padding.
    """

    kind: ClassVar[str] = "padding_mask"
    padding: int = Field(0, description="the number of the token that fills a text up")

    example: ClassVar[Example] = Example({}, [(7,)], shape=(7,), dtype="int")

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        _integers(x, self.kind)
        return Plan(shape=Shape(x, "bool"), saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.padding_mask import PaddingMask as Built

        return Built(self.padding)


class TextLength(Layer):
    """Number of tokens of a text that are not padding.

    Shapes: integers (T,) -> (1,) of integers; in general (*, T) -> (*, 1).
    Cost: nothing learned; no MACs.
    Errors: an input that is not of integers.
    Source: Sutskever et al. 2014, arXiv:1409.3215, section 2: sequences of variable length. torch: none; it is
        (x != padding).sum(-1).
    """

    kind: ClassVar[str] = "text_length"
    padding: int = Field(0, description="the number of the token that fills a text up")

    example: ClassVar[Example] = Example({}, [(7,)], shape=(1,), dtype="int")

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        _integers(x, self.kind)
        return Plan(shape=Shape((*x[:-1], 1), "int"), window=AxisMap((*range(len(x) - 1), None)), saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.padding_mask import TextLength as Built

        return Built(self.padding)


def _integers(x: Shape, kind: str) -> None:
    if x.dtype != "int":
        hint = "It takes the tokens themselves: wire it to the input, before its `embedding`."
        raise ShapeError(f"{kind} takes integers, and {{0}} holds {x.dtype}s", hint=hint, inputs=[x])
