"""Colour augmentations, which act on brightness from 0 to 1 before preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from ..errors import ShapeError
from ..lazy import np, torch
from ..shapes import Shape
from .base import Augmentation, per_example, uniform
from .ranges import NotNegative, Range, ordered

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Change

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue, as in torchvision: ITU-R BT.601."""
TINY = 1e-12

Factor = NonNegativeFloat | Annotated[Range[NotNegative], ordered("factor")]
HALF = Annotated[float, Field(ge=-0.5, le=0.5)]
Hue = Annotated[float, Field(ge=0, le=0.5)] | Annotated[Range[HALF], ordered("hue")]


class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue of each picture at random, in this order.

    A number b is a factor from max(0, 1 - b) to 1 + b; hue h is a turn from -h to h of the circle of colours.
    Brightness is times the factor; contrast is about the mean grey of the picture; saturation about each pixel's
    grey; values are kept from 0 to 1.
    Shapes: (C, H, W) -> (C, H, W), from 0 to 1 before preprocessing, which is undone for it.
    Errors: nothing to change; saturation or hue where there is one channel; preprocessing that cannot be undone.
    Source: Howard 2013, arXiv:1312.5402. torchvision: ColorJitter, which takes the four in a random order.
    """

    kind: ClassVar[str] = "color_jitter"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    colours: ClassVar[bool] = True
    brightness: Factor = Field(0.0, description="how far from 1 its factor may be, or [least, largest] factor")
    contrast: Factor = Field(0.0, description="the same")
    saturation: Factor = Field(0.0, description="the same; 0 is grey")
    hue: Hue = Field(0.0, description="how far it is turned at most, of one turn; or [least, largest]")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not any((self.brightness, self.contrast, self.saturation, self.hue)):
            raise ValueError("color_jitter changes nothing: give `brightness`, `contrast`, `saturation` or `hue`")
        return self

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        wants = [name for name in ("saturation", "hue") if getattr(self, name)]
        if wants and x.channels != 3:
            raise ShapeError(
                f"{' and '.join(wants)} of color_jitter want red, green and blue, and what comes in is {x}",
                hint="Keep `brightness` and `contrast`.",
            )
        if x.channels not in (1, 3):
            raise ShapeError(
                f"color_jitter is for pictures in grey or in colour, and what comes in is {x}", hint="Leave it out."
            )
        return x

    def apply(self, x: Tensor) -> Tensor:
        if self.brightness:
            x = (x * _factors(x, self.brightness)).clamp(0, 1)
        if self.contrast:
            x = _from(grey(x).mean((1, 2, 3), keepdim=True), x, _factors(x, self.contrast))
        if self.saturation:
            x = _from(grey(x), x, _factors(x, self.saturation))
        if self.hue:
            low, high = self.hue if isinstance(self.hue, list) else (-self.hue, self.hue)
            x = turned(x, uniform(x, (low, high)).view(-1, 1, 1))
        return x


class PCAColor(Augmentation):
    """Add to each picture a random colour along the principal components of the training set's colours.

    To each pixel (red, green, blue): the sum of axis_i * variance_i * a_i, with a_i normal of deviation `std`, drawn
    once for a picture. Axes and variances are the eigenvectors and eigenvalues of the covariance of the pixels of at
    most 10,000 training examples, from 0 to 1. Nothing is cut off.
    Shapes: (3, H, W) -> (3, H, W), from 0 to 1 before preprocessing, which is undone for it.
    Errors: other than three channels; preprocessing that cannot be undone.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 4.1. Not in torchvision.
    """

    kind: ClassVar[str] = "pca_color"
    ranks: ClassVar[tuple[int, ...]] = (3,)
    colours: ClassVar[bool] = True
    std: NonNegativeFloat = Field(0.1, description="standard deviation of the a_i")

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        if x.channels != 3:
            raise ShapeError(f"pca_color wants red, green and blue, and what comes in is {x}", hint="Leave it out.")
        return x

    def fitted(self, examples: Callable[[], Tensor]) -> Change:
        std, colours = self.std, examples().movedim(1, -1).reshape(-1, 3).double()
        centred = colours - colours.mean(0)
        variances, axes = torch.linalg.eigh((centred.mT @ centred / len(centred)).cpu())
        along = (axes * variances).float().to(colours.device)

        def added(x: Tensor) -> Tensor:
            a = torch.randn(len(x), 3, device=x.device) * std
            colour: Tensor = (a @ along.mT)[:, :, None, None]
            return x + colour

        return added


def _factors(x: Tensor, value: float | list[float]) -> Tensor:
    low, high = value if isinstance(value, list) else (max(0.0, 1 - value), 1 + value)
    return per_example(uniform(x, (low, high)), x)


def _from(base: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """Interpolate from `base` to `x`, or extrapolate beyond it."""
    return (base + (x - base) * factor).clamp(0, 1)


def grey(x: Tensor) -> Tensor:
    """Return the brightness of each pixel: (N, C, H, W) -> (N, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue)[:, None]


def turned(x: Tensor, by: Tensor) -> Tensor:
    """Rotate hues by a fraction of the colour circle, through hue, saturation and value (Smith 1978)."""
    red, green, blue = x.unbind(1)
    value, which = x.max(1)
    chroma = value - x.amin(1)
    some = torch.where(chroma > 0, chroma, 1)
    sixths = torch.where(
        which == 0,
        (green - blue) / some,
        torch.where(which == 1, 2 + (blue - red) / some, 4 + (red - green) / some),
    )
    hue = sixths / 6 + by
    five_three_one = torch.arange(5, 0, -2, device=x.device).view(1, 3, 1, 1)
    k = (five_three_one + 6 * hue[:, None]) % 6
    found: Tensor = value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)
    return found


# --- undoing preprocessing -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pixels:
    """The affine map from network inputs to brightness from 0 to 1: scale * x + shift, both (1, *) on the device."""

    scale: Tensor
    shift: Tensor

    def around(self, change: Change) -> Change:
        """Wrap a change of brightness as a change of network inputs."""
        return lambda x: (change(x * self.scale + self.shift) - self.shift) / self.scale


def pixels(steps: Sequence[Any], device: Any) -> Pixels | None:
    """Return the map that undoes fitted preprocessing steps; None where there are none."""
    if not steps:
        return None
    scale, shift = np.ones(()), np.zeros(())
    # The last step is undone first
    for fitted in reversed(steps):
        found, step = fitted.found, fitted.step
        if step.kind == "rescale":
            width = np.where(found["max"] == found["min"], 1.0, found["max"] - found["min"])
            a = width / (step.high - step.low)
            b = found["min"] - step.low * a
        else:
            a, b = found["std"], found["mean"]
        scale, shift = a * scale, a * shift + b
    made = (torch.from_numpy(np.asarray(part, np.float32)).to(device) for part in (scale, shift))
    return Pixels(*made)
