"""Relative position: on which side of a patch another one of the same picture lies, as a task without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

import pydantic
from pydantic import NonNegativeInt, PrivateAttr

from ..errors import DlxError
from ..lazy import torch
from ..shapes import Shape
from .base import Caller, Ports
from .self_supervised import NETWORK, PretextClassification

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

CENTER, NEIGHBOR = "center", "neighbor"
SIDES = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Steps down and to the right from a patch to each of its eight neighbours, by the number of their class."""


class RelativePosition(PretextClassification):
    """Tell on which of its eight sides the neighbour of a patch lies.

    Of each picture a square patch is cut out, and one beside it, `space` pixels away. Classes 0 to 7 are its sides,
    row by row from the upper left one. The place of the first patch is uniform among those around which all eight lie
    inside the picture, the side is uniform, and the second patch is moved by up to `jitter` pixels on each axis, so
    that lines that go on do not tell the answer alone. In training all is drawn anew in each step, by a generator of
    the objective that is saved with it; in evaluations it is always the same.
    Data: a field of pictures (channels, height, width). Network: `network`, from inputs `center` and `neighbor`, both
    of the shape (channels, p, p) that the spec gives them, to 8 logits; `share` takes both through the same layers.
    Metrics: loss, accuracy, error.
    Errors: inputs of other names, of two shapes, or that are no squares; pictures that are smaller than
        3 p + 2 space + 2 jitter.
    Source: Doersch, Gupta & Efros 2015, Unsupervised Visual Representation Learning by Context Prediction,
    arXiv:1505.05192, section 3; there patches of 96 pixels, 48 apart, with a jitter of 7, and colours are dropped
    (here by `train.augment`).
    """

    kind: ClassVar[str] = "relative_position"
    space: NonNegativeInt = pydantic.Field(0, description="pixels between a patch and its neighbour")
    jitter: NonNegativeInt = pydantic.Field(
        0, description="pixels by which the neighbour is moved on each axis at most"
    )
    _side: int = PrivateAttr(0)
    """Pixels of a side of a patch."""

    def network_inputs(self, example: Shape, network: Ports) -> Mapping[str, Shape]:
        inputs = dict(network.inputs)
        if inputs.keys() != {CENTER, NEIGHBOR}:
            listed = ", ".join(f"`{name}` {shape}" for name, shape in inputs.items())
            message = f"{self.kind} gives a network two patches, `{CENTER}` and `{NEIGHBOR}`, and it takes {listed}"
            patch = f"[{example[0]}, P, P]"
            hint = f"Write how large they are: `inputs: {{{CENTER}: {patch}, {NEIGHBOR}: {patch}}}`."
            raise DlxError(message, hint=hint)
        first, second = inputs[CENTER], inputs[NEIGHBOR]
        if tuple(first) != tuple(second) or first.rank != 3 or first[1] != first[2] or first[0] != example[0]:
            message = (
                f"{self.kind} cuts two equal squares out of {example}, and the network takes {first} and {second}"
            )
            raise DlxError(message, hint=f"Give both the shape [{example[0]}, P, P].")
        whole = 3 * first[1] + 2 * self.space + 2 * self.jitter
        if whole > min(example[1], example[2]):
            message = (
                f"a patch of {first[1]} pixels with its neighbours takes {whole}, with `space` and `jitter`, and "
                f"`{self.field}` is {example}"
            )
            raise DlxError(message, hint="Take smaller patches, or a smaller `space` or `jitter`.")
        return dict.fromkeys(inputs, Shape((example[0], first[1], first[1])))

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._side = networks[NETWORK].inputs[CENTER][1]
        return copy

    def classes(self) -> int:
        return len(SIDES)

    def patches(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return patches and their neighbours, each (N, C, p, p) of pictures (N, C, H, W), and the sides (N,)."""
        n, _, height, width = x.shape
        around = self._side + self.space + self.jitter
        row, column = (
            torch.randint(around, size - self._side - around + 1, (n,), generator=rng) for size in (height, width)
        )
        side = torch.randint(len(SIDES), (n,), generator=rng)
        moved = torch.randint(-self.jitter, self.jitter + 1, (2, n), generator=rng)
        down, right = torch.tensor(SIDES)[side].T * (self._side + self.space) + moved
        return (
            patches_at(x, row.to(x.device), column.to(x.device), self._side),
            patches_at(x, (row + down).to(x.device), (column + right).to(x.device), self._side),
            side.to(x.device),
        )

    def answered(self, call: Caller, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        center, neighbor, side = self.patches(batch[self.field], rng)
        return call(NETWORK, **{CENTER: center, NEIGHBOR: neighbor}), side


def patches_at(x: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Return a square (N, C, side, side) of each picture (N, C, H, W), from its upper left pixel (N,), (N,)."""
    along = torch.arange(side, device=x.device)
    rows, columns = row[:, None] + along, column[:, None] + along
    example, channel = torch.arange(len(x), device=x.device), torch.arange(x.shape[1], device=x.device)
    return x[example[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]
