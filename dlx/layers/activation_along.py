"""Activations along an axis: each result depends on all values along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..shapes import Shape
from .activation import Pointwise
from .arithmetic import Line, line, unchanged
from .base import Example, Plan, axis_of, floats


class Softmax(Pointwise):
    """exp(x) / the sum of exp(x) along `dim`, so that each line is positive and adds up to 1

    Shapes: (*) -> (*), each line along `dim` by itself. torch leaves `dim` to be guessed; here it is 1, the channels
        (counted as torch does, with the batch as axis 0), which is torch's Softmax2d as well.
    Cost: no MACs, as torch's counter has it.
    Errors: a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Prince 2023, Understanding Deep Learning, section 5.5. torch: Softmax.
    """

    kind: ClassVar[str] = "softmax"
    dim: int = Field(1, description="axis along which the results add up to 1; the batch is axis 0")

    def plan(self, *xs: Shape) -> Plan:
        return _along(xs[0], self.dim, self.kind)


class LogSoftmax(Pointwise):
    """The logarithm of `softmax`, computed without overflow

    Shapes: (*) -> (*), each line along `dim` by itself. torch leaves `dim` to be guessed; here it is 1, the channels
        (counted as torch does, with the batch as axis 0).
    Cost: no MACs, as torch's counter has it.
    Errors: a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Prince 2023, Understanding Deep Learning, section 5.5. torch: LogSoftmax.
    """

    kind: ClassVar[str] = "log_softmax"
    dim: int = Field(1, description="axis along which the exponentials add up to 1; the batch is axis 0")

    def plan(self, *xs: Shape) -> Plan:
        return _along(xs[0], self.dim, self.kind)


class Softmin(Pointwise):
    """exp(-x) / the sum of exp(-x) along `dim`: the smallest value gets the largest probability

    Shapes: (*) -> (*), each line along `dim` by itself. torch leaves `dim` to be guessed; here it is 1, the channels
        (counted as torch does, with the batch as axis 0).
    Cost: no MACs, as torch's counter has it.
    Errors: a `dim` that is the batch or no axis; an input that is not of floats.
    Source: `softmax` of -x. torch: Softmin.
    """

    kind: ClassVar[str] = "softmin"
    dim: int = Field(1, description="axis along which the results add up to 1; the batch is axis 0")

    def plan(self, *xs: Shape) -> Plan:
        return _along(xs[0], self.dim, self.kind)


class GLU(Pointwise):
    """a * sigmoid(b), where a and b are the first and the second half of x along `dim`

    Shapes: (C, *size) -> (C / 2, *size). torch halves the last axis, -1; here it is 1, the channels (counted as torch
        does, with the batch as axis 0).
    Cost: no MACs, as torch's counter has it.
    Errors: an odd number of values along `dim`; a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Dauphin et al. 2016, arXiv:1612.08083, section 2. torch: GLU.
    """

    kind: ClassVar[str] = "glu"
    dim: int = Field(1, description="axis that is halved; the batch is axis 0")

    example: ClassVar[Example] = Example({}, [(8, 5, 5)], shape=(4, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        lines = _along(x, self.dim, "glu")
        axis = axis_of(x, self.dim, "glu")
        if x[axis] % 2:
            raise ShapeError(
                f"glu halves axis {axis + 1} of {{0}}, whose {x[axis]} values do not split in two",
                hint=f"Make it {x[axis] + 1} in the layer before.",
                inputs=[x],
            )
        return Plan(shape=Shape((*x[:axis], x[axis] // 2, *x[axis + 1 :])), window=lines.window)

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        axis = axis_of(x, self.dim, "glu")
        halved = line("values / 2", {"values": x[axis]}, axes=axis)
        return [*unchanged(x, range(axis)), halved, *unchanged(x, range(axis + 1, len(x)))]


def _along(x: Shape, dim: int, kind: str) -> Plan:
    floats(x, kind)
    return Plan(shape=x, window=(axis_of(x, dim, kind) - 1,), saved=("output",))
