"""Division by the length of a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from ..shapes import Shape
from .base import Example, Layer, Plan, axis_of, floats

if TYPE_CHECKING:
    from torch.nn import Module


class Normalize(Layer):
    """Divide the vectors along `dim` by their length, max(||x||_p, eps): by their L2 norm for p = 2.

    The matrix product of two such sets of vectors holds the cosines of their angles.

    Shapes: (*) -> (*), each line along `dim` by itself.
    Cost: no MACs, as torch's counter has it.
    Errors: a `dim` that is the batch or no axis; an input that is not of floats.
    Source: Schroff et al. 2015, arXiv:1503.03832, section 3.1. torch: none; it is functional.normalize.
    """

    kind: ClassVar[str] = "normalize"
    p: float = Field(2.0, ge=1, description="exponent of the norm: 1 sums absolute values, 2 is Euclid's length")
    dim: int = Field(1, description="axis along which a vector lies; the batch is axis 0")
    eps: PositiveFloat = Field(1e-12, description="the least that is divided by")

    example: ClassVar[Example] = Example({"dim": 2}, [(7, 12)], shape=(7, 12))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "normalize")
        axis = axis_of(x, self.dim, "normalize")
        lengths = x.count // x[axis]
        return Plan(shape=x, window=(axis - 1,), saved_bytes=2 * 4 * lengths)  # each before and after eps

    def module(self, *xs: Shape) -> Module:
        from ..modules.norm import Normalize as Built

        return Built(self.p, axis_of(xs[0], self.dim, "normalize") + 1, self.eps)
