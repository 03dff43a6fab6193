"""Inpainting: what a hole in a picture hides, from the rest of it, as a task without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import pydantic
from pydantic import PositiveInt, PrivateAttr

from ..data.base import Field
from ..errors import DlxError
from ..lazy import torch
from ..metrics import Mode
from ..shapes import Shape
from .base import Caller, Ports, Sheet
from .latent import COLUMNS
from .self_supervised import NETWORK, SelfSupervised

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch

MASK = "mask"


class Inpainting(SelfSupervised):
    """Give back what a square hole in each picture hides, from what is left of it.

    The loss is the mean squared error over the pixels of the hole alone. The hole is anywhere in the picture, equally
    likely, or in the middle. In training it is drawn anew in each step, by a generator of the objective that is saved
    with it; in evaluations it is always at the same places.
    Data: a field of pictures (channels, height, width). Network: `network`, from the picture, whose hole is filled
    with `fill`, to one of the same shape; a second input called `mask` (1, height, width) is 1 where the picture is
    known and 0 in the hole. `train.augment` changes the pictures first, in training alone. Metrics, over the hole:
    loss, mse; mae, the mean absolute error.
    Errors: a hole that is as large as a picture; outputs of another shape than the pictures.
    Source: Pathak et al. 2016, Context Encoders: Feature Learning by Inpainting, arXiv:1604.07379, sections 3.2 and
    3.3, equation 1; without their adversarial loss.
    """

    kind: ClassVar[str] = "inpainting"
    hole: PositiveInt | None = pydantic.Field(
        None, description="height and width of the hole, in pixels; null: half of the shorter side"
    )
    place: Literal["anywhere", "middle"] = pydantic.Field("anywhere", description="where the hole is")
    fill: float = pydantic.Field(0.0, description="value of the pixels in the hole, as the network sees them")
    _name: str = PrivateAttr("input")
    """The network's input of pictures."""
    _takes_mask: bool = PrivateAttr(False)
    views: ClassVar[int] = 1
    outputs_follow: ClassVar[str] = "pictures of this shape"

    def network_inputs(self, example: Shape, network: Ports) -> Mapping[str, Shape]:
        others = [name for name in network.inputs if name != MASK]
        if len(others) != 1:
            raise self._of_one(network)
        if (side := self.side(example)) >= min(example[1], example[2]):
            raise DlxError(f"a hole of {side} pixels leaves nothing of {example}", hint="Take a smaller `hole`.")
        masks = {MASK: Shape((1, *example[1:]))} if MASK in network.inputs else {}
        return {others[0]: example, **masks}

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy, inputs = self.model_copy(), networks[NETWORK].inputs
        copy._name = next(name for name in inputs if name != MASK)
        copy._takes_mask = MASK in inputs
        return copy

    def side(self, example: Shape | torch.Size) -> int:
        """Return the side of the hole in an example (..., height, width)."""
        return self.hole if self.hole is not None else max(1, min(example[-2:]) // 2)

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        return {NETWORK: fields[self.field].shape}

    # --- a step -----------------------------------------------------------------------------------------------------

    def known(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Return masks (N, 1, H, W) of pictures (N, C, H, W): 0 in the hole of each and else 1."""
        side = self.side(x.shape)
        spans = []
        for size in x.shape[2:]:
            last = size - side
            first = torch.full((len(x),), last // 2)
            if self.place == "anywhere":
                first = torch.randint(last + 1, (len(x),), generator=rng)
            at = torch.arange(size)
            spans.append((at >= first[:, None]) & (at < first[:, None] + side))
        rows, columns = spans
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        return (~hole).to(x)

    def filled(self, call: Caller, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network gives for pictures with a hole, those pictures, and their masks."""
        mask = self.known(x, rng)
        seen = torch.where(mask == 1, x, self.fill)
        masks = {MASK: mask} if self._takes_mask else {}
        return call(NETWORK, **{self._name: seen, **masks}), seen, mask

    def differences(self, call: Caller, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return what is given minus what is right, in the hole, (N, C, H, W); 0 elsewhere."""
        x = batch[self.field]
        output, _, mask = self.filled(call, x, rng)
        return (output - x) * (1 - mask)

    def share(self, x: Tensor) -> float:
        """Return the share of the pixels that are in the hole."""
        return self.side(x.shape) ** 2 / (x.shape[2] * x.shape[3])

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"squared_error": self.differences(call, batch, rng).square().mean() / self.share(batch[self.field])}

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        away, share = self.differences(call, batch, rng), self.share(batch[self.field])
        mse = away.square().mean() / share
        return {"loss": mse, "mse": mse, "mae": away.abs().mean() / share}

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor | Sheet]:
        """Return pictures as they are, with their holes, and with what is given for these, below each other."""
        x = batch[self.field][:COLUMNS]
        output, seen, mask = self.filled(call, x, rng)
        return {"holes": torch.stack([x, seen, torch.where(mask == 1, x, output)])}

    def modes(self) -> dict[str, Mode]:
        return {"loss": "min", "mse": "min", "mae": "min"}
