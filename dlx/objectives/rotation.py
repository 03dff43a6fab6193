"""Rotation: by how many right angles a picture was turned, as a task without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import pydantic

from ..errors import DlxError
from ..lazy import torch
from ..registry import NotBoolean
from ..shapes import Shape
from .base import Caller
from .self_supervised import NETWORK, PretextClassification

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch

Angle = Annotated[Literal[0, 90, 180, 270], NotBoolean]


class Rotation(PretextClassification):
    """Tell by which angle each picture was turned.

    The batch is taken once at each of the angles, so that an update sees every picture in all of them. The loss is
    the mean cross entropy. Nothing is drawn; `train.augment` changes the pictures first, in training alone.
    Data: a field of pictures (channels, height, width), square but for angles of 0 and 180. Network: `network`, from
    pictures to one logit an angle. Metrics: loss, accuracy, error, over all angles of all pictures.
    Errors: pictures that are not square, with angles of 90 or 270.
    Source: Gidaris, Singh & Komodakis 2018, Unsupervised Representation Learning by Predicting Image Rotations,
    arXiv:1803.07728, section 2.
    """

    kind: ClassVar[str] = "rotation"
    angles: Annotated[list[Angle], pydantic.Field(min_length=2)] = pydantic.Field(
        [0, 90, 180, 270], description="in degrees, against the clock"
    )

    @pydantic.field_validator("angles")
    @classmethod
    def _once_each(cls, angles: list[Angle]) -> list[Angle]:
        if len(set(angles)) < len(angles):
            raise ValueError(f"`angles` names one twice: {', '.join(map(str, angles))}")
        return angles

    @property
    def times(self) -> int:
        return len(self.angles)

    def network_input(self, example: Shape) -> Shape:
        if example[1] != example[2] and any(angle % 180 for angle in self.angles):
            hint = "Write `angles: [0, 180]`, or take square pictures."
            raise DlxError(
                f"rotation by right angles is for square pictures, and `{self.field}` is {example}", hint=hint
            )
        return example

    def classes(self) -> int:
        return len(self.angles)

    def turned(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return pictures (angles * N, C, H, W), those at one angle together, and the numbers of their angles."""
        each = [torch.rot90(x, angle // 90, (2, 3)) for angle in self.angles]
        return torch.cat(each), torch.arange(len(each), device=x.device).repeat_interleave(len(x))

    def answered(self, call: Caller, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x, angle = self.turned(batch[self.field])
        return call(NETWORK, x), angle
