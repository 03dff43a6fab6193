"""Steps that subtract and divide: (x - shift) / scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from .base import Per, Preprocess
from .sums import axes_of, moments, shifted_and_scaled

if TYPE_CHECKING:
    from ..base import Floats
    from .base import Statistics


class Affine(Preprocess):
    """Base class of the steps (x - mean) / std."""

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return shifted_and_scaled(x, found["mean"], found["std"])


class Center(Affine):
    """Subtract the mean of the training inputs.

    Shapes: unchanged. `per: feature` subtracts the mean image, as AlexNet did; `channel` a mean colour, as VGG did.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 2; Simonyan & Zisserman 2014, arXiv:1409.1556, section 2.1.
    """

    kind: ClassVar[str] = "center"
    per: Per = "feature"

    def fit(self, x: Floats) -> Statistics:
        mean, scale = moments(x, axes_of(x, self.per))
        return {"mean": mean, "std": np.ones_like(scale)}


class Standardize(Affine):
    """Bring the training inputs to mean 0 and standard deviation 1.

    Shapes: unchanged. Inputs that are constant in the training part are divided by 1. The standard deviation is
    divided by n, not n - 1. Source: LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", section 4.3.
    """

    kind: ClassVar[str] = "standardize"
    per: Per = "feature"

    def fit(self, x: Floats) -> Statistics:
        mean, scale = moments(x, axes_of(x, self.per))
        return {"mean": mean, "std": scale}


class Normalize(Affine):
    """Subtract a fixed mean and divide by a fixed standard deviation, such as those of a pretrained network.

    Shapes: unchanged. One value for all inputs, or one a channel.
    Errors: lists of another length than there are channels.
    Source: the transform of that name in torchvision.
    """

    kind: ClassVar[str] = "normalize"
    mean: list[float] = Field(min_length=1, description="to subtract: one value, or one a channel")
    std: list[PositiveFloat] = Field([1.0], min_length=1, description="to divide by: one value, or one a channel")

    def output_shape(self, x: Shape) -> Shape:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, x[0]):
                raise DataError(
                    f"`{name}` of `normalize` has {len(values)} values, and inputs of shape {x} have {x[0]} channels",
                    hint="Give one value, or one a channel.",
                )
        return x

    def fit(self, x: Floats) -> Statistics:
        ones = (1,) * (x.ndim - 2)
        return {
            "mean": np.reshape(np.array(self.mean, np.float64), (1, -1, *ones)),
            "std": np.reshape(np.array(self.std, np.float64), (1, -1, *ones)),
        }
