"""A number, such as the time of a diffusion, as a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .base import Example, Layer, Plan, SavedIf, floats

if TYPE_CHECKING:
    from torch.nn import Module


class TimestepEmbedding(Layer):
    """Sines and cosines of a number at falling frequencies: a sinusoidal embedding of the time of a diffusion.

    y[i] = sin(t / base^(2i / D)) and y[D / 2 + i] the cosine of the same angle, i from 0 to D / 2 - 1.

    Shapes: () or (1,) -> (embedding_dim,).
    Cost: nothing learned; a buffer of the frequencies; no MACs.
    Errors: an odd `embedding_dim`; an input of more than one number, or that is not of floats.
    Source: Ho et al. 2020, Denoising diffusion probabilistic models, arXiv:2006.11239, appendix B. torch: none.
    """

    kind: ClassVar[str] = "timestep_embedding"
    embedding_dim: PositiveInt = Field(multiple_of=2, description="values of the vector, an even number")
    base: PositiveFloat = Field(10_000.0, description="the longest wave has nearly 2 pi times so many steps")

    example: ClassVar[Example] = Example({"embedding_dim": 8}, [(1,)], shape=(8,), buffers=4)

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        if x.count != 1:
            raise ShapeError(
                "timestep_embedding takes one number, and {0} has more",
                hint="Declare `time: {shape: []}`.",
                inputs=xs,
            )
        half = self.embedding_dim // 2
        return Plan(
            Shape((self.embedding_dim,)),
            buffers={"frequencies": (half,)},
            window="global",
            saved=(),
            saved_if=(SavedIf((0,), more=4 * half),),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.position import TimestepEmbedding as Built

        return Built(self.embedding_dim, self.base)
