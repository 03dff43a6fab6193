"""Orthogonal matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from ..lazy import nn
from .filling import Filling

if TYPE_CHECKING:
    from torch import Tensor


class Orthogonal(Filling):
    """A random matrix whose rows, or columns if fewer, are orthonormal, times `gain`: lengths are kept.

    A kernel is taken as the matrix (out, in * taps). torch: orthogonal_. Source: Saxe et al. 2014, arXiv:1312.6120.
    """

    kind: ClassVar[str] = "orthogonal"
    gain: float = Field(1.0, description="factor on the matrix; sqrt(2) suits ReLU")

    def fill(self, weight: Tensor) -> None:
        nn.init.orthogonal_(weight, self.gain)


class DeltaOrthogonal(Orthogonal):
    """An orthogonal matrix at the centre of each kernel, zero elsewhere; it trained plain networks of 10,000 layers.

    It keeps lengths where a layer has no fewer outputs than inputs. Of a matrix it is `orthogonal`.
    Source: Xiao et al. 2018, arXiv:1806.05393, algorithm 1.
    """

    kind: ClassVar[str] = "delta_orthogonal"

    def fill(self, weight: Tensor) -> None:
        matrix = weight.new_empty(weight.shape[:2])
        nn.init.orthogonal_(matrix, self.gain)
        nn.init.zeros_(weight)
        centre = weight.data
        for size in weight.shape[:1:-1]:
            centre = centre[..., size // 2]
        centre.copy_(matrix)


class LSUV(Orthogonal):
    """Orthogonal, then each weight layer scaled until a batch of the training set leaves it with variance 1.

    Layer by layer from the input on, in evaluation mode: W / std of the output, again until the variance is within
    `tol` of 1. The batch is drawn by `train.seed`. Where there is no data, as in `dlx verify`, it stays orthogonal;
    embeddings do too, and weights given with `values` stay as they are.
    Source: Mishkin & Matas 2016, arXiv:1511.06422, algorithm 1.
    """

    kind: ClassVar[str] = "lsuv"
    tol: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="how far from 1 the variance may be")
    max_iters: PositiveInt = Field(10, description="times that a layer is scaled at most")
    samples: PositiveInt = Field(256, description="examples of the training set that are looked at")
