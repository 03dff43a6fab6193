"""Noise on the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from ..lazy import torch
from .base import Augmentation, per_example, permutation, uniform
from .ranges import Range, ordered

if TYPE_CHECKING:
    from torch import Tensor

Ratio = Annotated[Range[float], ordered("snr")]


class GaussianNoise(Augmentation):
    """Add normal noise to each value, as the layer of that name does within a network.

    With `snr` each example has noise of its own deviation: the ratio of its power, the mean of its squares, to that
    of the noise is 10^(snr / 10).
    Shapes: any. The noise is on the values that the network sees, after preprocessing, and nothing is cut off.
    Errors: `std` beside `snr`.
    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization". torchvision: GaussianNoise,
    which cuts values off at 0 and 1. With `snr` audiomentations: AddGaussianSNR.
    """

    kind: ClassVar[str] = "gaussian_noise"
    std: NonNegativeFloat = Field(0.1, description="standard deviation of the noise")
    snr: Ratio | None = Field(
        None,
        description="instead of `std`: smallest and largest signal-to-noise ratio in decibels",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.snr is not None and "std" in self.model_fields_set:
            raise ValueError("`std` and `snr` both say how much noise there is: drop one of them")
        return self

    def apply(self, x: Tensor) -> Tensor:
        noise = torch.randn_like(x)
        if self.snr is None:
            return x + noise * self.std
        return x + noise * per_example(power(x).sqrt() * amplitude(uniform(x, self.snr)), x).to(x.dtype)


class MixAtSnr(Augmentation):
    """Add another example of the batch under each one, at a signal-to-noise ratio that is uniform in decibels.

    The ratio of the example's power, the mean of its squares, to that of what is added is 10^(snr / 10). The target
    stays that of the example. A batch of one example stays as it is, as does an example to which silence is added.
    Shapes: any.
    Source: Barker et al. 2015, The third CHiME challenge, section 2. torchaudio: add_noise;
        torch-audiomentations: Mix.
    """

    kind: ClassVar[str] = "mix_at_snr"
    snr: Ratio = Field([0.0, 20.0], description="smallest and largest signal-to-noise ratio in decibels")

    def apply(self, x: Tensor) -> Tensor:
        order = permutation(x)
        partners = torch.empty_like(order)
        partners[order] = order.roll(1)  # a ring of all of them: none is its own partner
        added = x[partners]
        ratio = (power(x) / power(added)).nan_to_num(0.0, 0.0).sqrt() * amplitude(uniform(x, self.snr))
        return x + added * per_example(ratio * (partners != torch.arange(len(x), device=x.device)), x).to(x.dtype)


def power(x: Tensor) -> Tensor:
    """Return the mean of the squares of each example of a batch (N, *): (N,), in single precision at least."""
    return x.flatten(1).float().square().mean(1)


def amplitude(snr: Tensor) -> Tensor:
    """Return the amplitude of noise beside a signal of amplitude 1, at a ratio in decibels."""
    return 10 ** (-snr / 20)
