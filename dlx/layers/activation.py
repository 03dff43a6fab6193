"""Pointwise activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Shape
from .base import Example, Layer, Plan, Saved, floats

if TYPE_CHECKING:
    from torch.nn import Module

PAGE = """    Shapes: (*) -> (*), each value by itself.
    Cost: no MACs, as torch's counter has it.
    Errors: an input that is not of floats.
"""


class Pointwise(Layer):
    """Base class of layers that act on each value independently; the name of a class is that of torch's.

    Shapes, Cost and Errors are equal for all, and are added to their docstrings.
    """

    example: ClassVar[Example] = Example({}, [(4, 5, 5)], shape=(4, 5, 5))
    saved: ClassVar[Saved] = ("inputs",)
    saved_bytes_per_value: ClassVar[int] = 0
    """Bytes per value that torch saves for the backward pass beside the tensors in `saved`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        text = cls.__doc__ or ""
        if "Shapes:" not in text:
            cls.__doc__ = text.replace("    Source:", PAGE + "    Source:")

    def plan(self, *xs: Shape) -> Plan:
        floats(xs[0], self.kind)
        return Plan(shape=xs[0], saved=self.saved, saved_bytes=self.saved_bytes_per_value * xs[0].count)

    def module(self, *_: Shape) -> Module:
        made: Module = getattr(nn, type(self).__name__)(**self.options())
        return made


def one_or_each(number: int, what: str, x: Shape, kind: str) -> None:
    """Raise a ShapeError for a number of learned values that is neither 1 nor that of the channels."""
    if number not in (1, x.channels):
        raise ShapeError(
            f"{kind} has num_parameters = {number} {what} for the {x.channels} channels of {{0}}",
            hint=f"Give 1, or {x.channels}: `${{x.channels}}`.",
            inputs=[x],
        )
