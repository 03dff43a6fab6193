"""Jigsaw puzzles: in which order the pieces of a picture lie, as a task without labels."""

from __future__ import annotations

from functools import cached_property
from itertools import islice, permutations
from math import factorial
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import pydantic
from pydantic import PositiveInt, model_validator

from ..errors import DlxError
from ..lazy import torch
from ..shapes import Shape
from .base import Caller
from .self_supervised import NETWORK, PretextClassification

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch

CANDIDATES = 1000
"""Permutations among which the next one is looked for, at most."""


class Jigsaw(PretextClassification):
    """Tell in which order the pieces of each picture lie.

    A picture is cut into `grid` by `grid` pieces, which are laid in one of `permutations` orders, drawn for each
    picture; the loss is the cross entropy of the order's number. The orders are chosen one by one, the first as the
    picture was, each as far as possible from those before it in pieces that lie elsewhere. In training they are drawn
    anew in each step, by a generator of the objective that is saved with it; in evaluations they are always the same.
    Data: a field of pictures (channels, height, width), whose sides `grid` divides. Network: `network`, from pictures
    of that shape to one logit an order. Metrics: loss, accuracy, error.
    Errors: sides that `grid` does not divide; more permutations than there are.
    Source: Noroozi & Favaro 2016, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles,
    arXiv:1603.09246, section 4 and algorithm 1; there each piece goes through a network of its own.
    """

    kind: ClassVar[str] = "jigsaw"
    grid: Annotated[int, pydantic.Field(ge=2, le=8)] = pydantic.Field(2, description="pieces on each side")
    permutations: Annotated[PositiveInt, pydantic.Field(ge=2, le=1000)] = pydantic.Field(
        24, description="orders of the pieces, a class each"
    )

    @model_validator(mode="after")
    def _so_many_orders(self) -> Self:
        pieces = self.grid**2
        if self.permutations > (there := factorial(pieces)):
            raise ValueError(f"{pieces} pieces lie in {there} orders, and `permutations` is {self.permutations}")
        return self

    def network_input(self, example: Shape) -> Shape:
        if example[1] % self.grid or example[2] % self.grid:
            hint = "Crop the pictures, `augment: [{crop: SIZE}]`, or take another `grid`."
            raise DlxError(
                f"jigsaw cuts {example} into {self.grid} by {self.grid} pieces, which are not equal", hint=hint
            )
        return example

    def classes(self) -> int:
        return self.permutations

    @cached_property
    def orders(self) -> Tensor:
        """The orders, (permutations, pieces): which piece lies at each place."""
        pieces = self.grid**2
        if factorial(pieces) <= CANDIDATES:
            candidates = torch.tensor(list(islice(permutations(range(pieces)), CANDIDATES)))
        else:
            rng = torch.Generator().manual_seed(0)
            shuffled = [torch.randperm(pieces, generator=rng) for _ in range(10 * CANDIDATES)]
            candidates = torch.unique(torch.stack([torch.arange(pieces), *shuffled]), dim=0)
        nearest = torch.full((len(candidates),), pieces + 1)
        chosen = [0]  # the candidates are sorted, the order of the picture first
        for _ in range(self.permutations - 1):
            nearest = torch.minimum(nearest, (candidates != candidates[chosen[-1]]).sum(1))
            chosen.append(int(nearest.argmax()))
        return candidates[chosen]

    def shuffled(self, x: Tensor, order: Tensor) -> Tensor:
        """Return pictures (N, C, H, W) with their pieces in the orders of these numbers (N,)."""
        n, channels, height, width = x.shape
        g = self.grid
        cut = x.view(n, channels, g, height // g, g, width // g).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        laid = cut[torch.arange(n, device=x.device)[:, None], self.orders.to(x.device)[order]]
        pieces = laid.view(n, g, g, channels, height // g, width // g)
        return pieces.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    def answered(self, call: Caller, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x = batch[self.field]
        order = torch.randint(self.permutations, (len(x),), generator=rng).to(x.device)
        return call(NETWORK, self.shuffled(x, order)), order
