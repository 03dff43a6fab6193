"""Random changes of waves, spectra and series along their time: speed, warping, masks, gain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..lazy import torch
from ..shapes import Shape
from .base import Augmentation, per_example, uniform
from .ranges import Positive, Range, ordered

if TYPE_CHECKING:
    from torch import Tensor


class AlongTime(Augmentation):
    """Base class of augmentations along the axis of time."""

    ranks: ClassVar[tuple[int, ...]] = (2, 3)
    time: Literal["last", "first"] = Field(
        "last", description="axis of time: last of signals and spectra, first of windows of series (window, columns)"
    )

    def last(self, x: Tensor) -> Tensor:
        """Return a batch with its time on the last axis, or back."""
        return x if self.time == "last" else x.transpose(1, -1)

    def steps(self, x: Shape) -> int:
        """Return the number of steps of an example of shape `x`."""
        return x[-1] if self.time == "last" else x[0]


class Speed(AlongTime):
    """Play each example faster or slower by a factor, uniform in `factor`, about its middle.

    The length stays: what is played faster is shorter, and zeros stand around it; what is played slower is cut off.
    A wave changes its pitch along with it; a spectrum changes its tempo alone. Values between two steps are
    interpolated linearly.
    Shapes: (channels, length), (channels, frequencies, time); with `time: first` (window, columns).
    Source: Ko et al. 2015, Audio augmentation for speech recognition: factors of 0.9 and 1.1.
    """

    kind: ClassVar[str] = "speed"
    factor: Annotated[Range[Positive], ordered("factor")] = Field([0.9, 1.1], description="smallest and largest")

    def apply(self, x: Tensor) -> Tensor:
        whole = self.last(x)
        middle = (whole.shape[-1] - 1) / 2
        steps = torch.arange(whole.shape[-1], device=x.device)
        places = middle + (steps - middle) * uniform(x, self.factor)[:, None]
        inside = (places >= -1e-4) & (places <= whole.shape[-1] - 1 + 1e-4)
        found = interpolated(whole, places) * _beside(inside, whole).to(x.dtype)
        return self.last(found)


class WindowWarp(AlongTime):
    """Stretch a part of each example by one of `factors`, and bring the whole back to its length.

    The part has `size` of the length, its place is uniform. Values between two steps are interpolated linearly.
    Shapes: (channels, length), (channels, frequencies, time); with `time: first` (window, columns).
    Source: Le Guennec, Malinowski & Tavenard 2016, Data augmentation for time series classification: 10 % of the
        length, stretched by 1/2 or 2.
    """

    kind: ClassVar[str] = "window_warp"
    size: float = Field(0.1, gt=0, lt=1, description="part of the length that is stretched")
    factors: list[Positive] = Field([0.5, 2.0], min_length=1, description="what it is stretched by, one of them")

    def apply(self, x: Tensor) -> Tensor:
        whole = self.last(x)
        last, part = whole.shape[-1] - 1, self.size * (whole.shape[-1] - 1)
        start = (torch.rand(len(x), device=x.device) * (last - part))[:, None]
        which = torch.randint(len(self.factors), (len(x),), device=x.device)
        factor = torch.tensor(self.factors, device=x.device)[which][:, None]
        return self.last(interpolated(whole, warped(last, part, start, factor)))


def warped(last: int, part: float, start: Tensor, factor: Tensor) -> Tensor:
    """Return where each of `last + 1` steps (n, steps) is read from: `part` steps from `start` on are stretched."""
    longer = last + part * (factor - 1)
    time = torch.arange(last + 1, device=start.device) / last * longer
    within = start + (time - start) / factor
    after = time - part * (factor - 1)
    return torch.where(time < start, time, torch.where(time < start + part * factor, within, after))


class Gain(Augmentation):
    """Multiply each example by a factor that is uniform in decibels: 10^(d / 20), 6 dB double the amplitude.

    Shapes: any.
    Source: Um et al. 2017, arXiv:1706.00527, scaling of series; audiomentations: Gain.
    """

    kind: ClassVar[str] = "gain"
    decibels: Annotated[Range[float], ordered("decibels")] = Field([-6.0, 6.0], description="smallest and largest")

    def apply(self, x: Tensor) -> Tensor:
        return x * per_example(10 ** (uniform(x, self.decibels) / 20), x).to(x.dtype)


class _Mask(Augmentation):
    ranks: ClassVar[tuple[int, ...]] = (2, 3)

    def axis(self) -> int:
        """Return the axis of an example that is masked."""
        raise TypeError(f"{type(self).__name__} has no axis()")

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        size, there = self.size, x[self.axis()]
        if size > there:
            raise ShapeError(f"a mask of up to {size} is larger than the {there} positions", "Take a smaller `size`.")
        return x

    size: PositiveInt = Field(description="most positions that a mask has; it has 0 to `size` of them")
    masks: PositiveInt = Field(1, le=100, description="masks in each example, up to 100; they may overlap")

    def apply(self, x: Tensor) -> Tensor:
        axis = self.axis() % (x.dim() - 1) + 1
        there = x.shape[axis]
        places = torch.arange(there, device=x.device)
        width = torch.randint(self.size + 1, (len(x), self.masks), device=x.device)
        free = torch.rand(len(x), self.masks, device=x.device) * (there - width + 1)
        start = free.floor()
        inside = (places >= start[..., None]) & (places < (start + width)[..., None])
        shape = [len(x), *(there if i == axis else 1 for i in range(1, x.dim()))]
        return x.masked_fill(inside.any(1).view(shape), 0.0)


class TimeMask(_Mask):
    """Set up to `size` steps in a row to 0, in all channels and frequencies.

    Width and place are uniform: 0 to `size` steps, anywhere they fit.
    Shapes: (channels, length), (channels, frequencies, time); with `time: first` (window, columns).
    Errors: a mask that may be longer than the example.
    Source: Park et al. 2019, SpecAugment, arXiv:1904.08779, section 2. torchaudio: TimeMasking.
    """

    kind: ClassVar[str] = "time_mask"
    time: Literal["last", "first"] = Field(
        "last", description="axis of time: last of signals and spectra, first of windows of series (window, columns)"
    )

    def axis(self) -> int:
        return -1 if self.time == "last" else 0


class FrequencyMask(_Mask):
    """Set up to `size` frequencies in a row to 0, at all times.

    Width and place are uniform: 0 to `size` frequencies, anywhere they fit.
    Shapes: (frequencies, time), (channels, frequencies, time).
    Errors: a mask that may be larger than the example.
    Source: Park et al. 2019, SpecAugment, arXiv:1904.08779, section 2. torchaudio: FrequencyMasking.
    """

    kind: ClassVar[str] = "frequency_mask"

    def axis(self) -> int:
        return -2


def interpolated(x: Tensor, places: Tensor) -> Tensor:
    """Return the values of a batch (N, ..., length) at `places` (N, steps) of its last axis, clamped to its ends."""
    places = places.clamp(0, x.shape[-1] - 1)
    below = places.floor().long()
    above = (below + 1).clamp_max(x.shape[-1] - 1)
    first, second = (x.gather(-1, _beside(one, x).expand(*x.shape[:-1], -1)) for one in (below, above))
    return torch.lerp(first, second, _beside(places - below, x).to(x.dtype))


def _beside(values: Tensor, x: Tensor) -> Tensor:
    """Reshape values (N, steps) to as many axes as a batch (N, ..., length)."""
    return values.view(len(values), *(1,) * (x.dim() - 2), -1)
