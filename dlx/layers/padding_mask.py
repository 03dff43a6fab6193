"""Where a padded text has ended, how long it is, and which document each token is of: from its integers."""

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


class TextDocument(Layer):
    """The number of each token's document in a window of several, from 0 on: how many began before it. Padding: -1.

    Shapes: integers (T,) -> (T,) of integers; in general (*, T), unchanged.
    Cost: nothing learned; no MACs.
    Errors: an input that is not of integers.
    Source: Krell et al. 2021, arXiv:2107.02027, section 3.2 (packed sequences that do not see each other).
        torch: none; it is (x == begin).cumsum(-1).
    """

    kind: ClassVar[str] = "text_document"
    padding: int = Field(0, description="the number of the token that fills a window up")
    begin: int = Field(1, description="the number of the token that a document begins with")

    example: ClassVar[Example] = Example({}, [(7,)], shape=(7,), dtype="int")

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        _integers(x, self.kind)
        return Plan(shape=Shape(x, "int"), saved=())

    def module(self, *_: Shape) -> Module:
        from ..modules.padding_mask import TextDocument as Built

        return Built(self.padding, self.begin)


class TextPosition(TextDocument):
    """The position of each token in its document, from 0 on, in a window of several; for an `embedding`.

    Shapes: integers (T,) -> (T,) of integers; in general (*, T), unchanged.
    Cost: nothing learned; no MACs.
    Errors: an input that is not of integers.
    Source: Krell et al. 2021, arXiv:2107.02027, section 3.2 (positions that begin anew). torch: none; it is the
        distance from the last begin.
    """

    kind: ClassVar[str] = "text_position"

    def module(self, *_: Shape) -> Module:
        from ..modules.padding_mask import TextPosition as Built

        return Built(self.padding, self.begin)


def _integers(x: Shape, kind: str) -> None:
    if x.dtype != "int":
        hint = "It takes the tokens themselves: wire it to the input, before its `embedding`."
        raise ShapeError(f"{kind} takes integers, and {{0}} holds {x.dtype}s", hint=hint, inputs=[x])
