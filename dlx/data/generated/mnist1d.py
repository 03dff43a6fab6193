"""MNIST-1D: generated digits as one-dimensional signals, equal to the published data set at its settings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from ...errors import DataError
from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split
from ..label_noise import LabelNoiseField, with_label_noise
from ..labelled import LabelledField
from ..preprocess import shape_after
from ..splits import PartSize, Standardize, Steps, assemble, part_size

if TYPE_CHECKING:
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Whole = npt.NDArray[np.int64]

STROKES = (  # the ten digits as heights of a pen at twelve instants
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
NAMES = tuple("0123456789")
TINY = 1e-8  # lifts the zeros of a stroke off the zeros of the padding, which noise replaces
SIGMA, RADIUS = 2.0, 8  # of the Gaussian that correlates the noise, in positions; cut at four standard deviations


@dataclass(frozen=True)
class Signals:
    """All examples in float64: signals `x` (n, positions), digits `y` (n,), time points `t` (positions,)."""

    x: Doubles
    y: Whole
    t: Doubles


@dataclass(frozen=True)
class Draws:
    """The random numbers of each example: zeros appended, height, shift in positions, two noises, slope."""

    zeros: Whole
    height: Doubles
    shift: Whole
    smooth: Doubles
    rough: Doubles
    slope: Doubles


class MNIST1D(Dataset):
    """Ten pen strokes, padded, stretched, scaled, shifted, sheared and hidden in noise; ten classes.

    Shapes: inputs (1, final_seq_length), over all examples of mean 0 and standard deviation 1; targets 0 to 9.
    The ten classes are equally frequent; where train + test is no multiple of ten, the next one is generated and the
    surplus dropped. `valid` takes the last of the training examples, which are in random order.
    Errors: `valid` that leaves nothing to train on; shifts longer than the signal.
    Source: Greydanus & Kobak 2024, arXiv:2011.14439. With the default options, the data set as published.
    """

    kind: ClassVar[str] = "mnist1d"
    train: PositiveInt = Field(4000, description="examples to train on, those of `valid` included")
    test: NonNegativeInt = Field(1000, description="examples held out for the test")
    valid: PartSize | None = Field(
        None, description="training examples held out for validation: a fraction or a count"
    )
    seed: NonNegativeInt = Field(42, lt=2**32, description="of the generator")
    template_len: PositiveInt = Field(
        12, description="positions for the stroke; with the most padding, the whole signal"
    )
    padding: list[NonNegativeInt] = Field(
        [36, 60], min_length=2, max_length=2, description="fewest and most zeros after the stroke"
    )
    scale_coeff: NonNegativeFloat = Field(0.4, description="width of the interval around 1 that heights come from")
    max_translation: PositiveInt = Field(48, le=1_000_000, description="shifts run from 0 to one less, in positions")
    corr_noise_scale: NonNegativeFloat = Field(
        0.25, description="standard deviation of the noise that is then smoothed"
    )
    iid_noise_scale: NonNegativeFloat = Field(2e-2, description="standard deviation of the noise on each position")
    shear_scale: NonNegativeFloat = Field(0.75, description="width of the interval around 0 that slopes come from")
    shuffle_seq: bool = Field(False, description="put the positions into one random order, the same for all examples")
    final_seq_length: PositiveInt = Field(40, le=1_000_000, description="positions of the finished signal")
    standardize: Standardize = "none"
    preprocess: Steps = Field([])
    label_noise: LabelNoiseField = None
    labelled: LabelledField = None

    source: ClassVar[str] = "Greydanus & Kobak 2024, MNIST-1D, arXiv:2011.14439, generated"

    @model_validator(mode="after")
    def _signal_fits(self) -> Self:
        fewest, most = self.padding
        if fewest > most:
            raise ValueError(f"`padding` runs from {fewest} down to {most}: give the smaller number first")
        if self.max_translation > self.positions:
            raise ValueError(
                f"`max_translation` {self.max_translation} is longer than the signal of {self.positions} positions "
                f"(`template_len` {self.template_len} + `padding` {most}): give {self.positions} at most"
            )
        return self

    @property
    def positions(self) -> int:
        """Length of a signal before it is resampled to `final_seq_length`."""
        return self.template_len + self.padding[1]

    def facts(self) -> Facts:
        examples = self.train - self.held_out()
        shape = shape_after(self.preprocess, Shape((1, self.final_seq_length)))
        return Facts(shape, classes=len(NAMES), examples=examples)

    def held_out(self) -> int:
        """Return the number of validation examples. DataError where they are all training examples."""
        count = part_size(self.valid, self.train, "valid")
        if count >= self.train:
            raise DataError(
                f"no examples are left to train on: `valid` {count:,} out of `train` {self.train:,}",
                hint="Take less for `valid`, or generate more for `train`.",
            )
        return count

    def load(self) -> Sets:
        made = self.signals()
        x = made.x[:, None].astype(np.float32)
        ends = (0, self.train - self.held_out(), self.train, self.train + self.test)
        parts = [Split(x[a:b], made.y[a:b]) if b > a else None for a, b in pairwise(ends)]
        return with_label_noise(assemble(parts, self.standardize, self.source, NAMES, self.preprocess), self)

    def signals(self) -> Signals:
        """Generate all examples in float64, training examples first, neither standardised nor cut."""
        rng = np.random.RandomState(self.seed)  # the generator that the published numbers come from
        y = np.repeat(np.arange(len(STROKES)), -(-(self.train + self.test) // len(STROKES)))
        x = resample(self._render(y, self._draws(rng, len(y))), self.final_seq_length)
        order = rng.permutation(len(y))
        x, y = x[order], y[order]
        if self.shuffle_seq:
            x = x[:, rng.permutation(self.final_seq_length)]
        t = resample(np.linspace(-5, 5, len(STROKES[0]))[None] / 6, self.positions)
        scale = x.std() or 1.0
        return Signals((x - x.mean()) / scale, y.astype(np.int64), resample(t, self.final_seq_length)[0] / scale)

    def _draws(self, rng: np.random.RandomState, count: int) -> Draws:
        """Draw all random numbers in the published order, which goes from example to example."""
        fewest, most = self.padding
        zeros, shift = np.empty((2, count), np.int64)
        height, slope = np.empty((2, count))
        noise = np.empty((count, 2, self.positions))
        for i in range(count):
            zeros[i] = fewest + int(rng.random_sample() * (most - fewest + 1))
            height[i] = rng.random_sample()
            shift[i] = rng.randint(self.max_translation)
            noise[i] = rng.standard_normal(noise.shape[1:])
            slope[i] = rng.random_sample()
        return Draws(
            zeros,
            1 + self.scale_coeff * (height - 0.5),
            shift,
            smoothed(self.corr_noise_scale * noise[:, 0]),
            self.iid_noise_scale * noise[:, 1],
            self.shear_scale * (slope - 0.5),
        )

    def _render(self, y: Whole, draws: Draws) -> Doubles:
        """Render the digits `y` as signals of full length, each with its own random changes."""
        pens = strokes() + TINY
        pairs, which = np.unique(np.stack([y, draws.zeros], axis=1), axis=0, return_inverse=True)
        padded = (np.append(pens[digit], np.zeros(zeros))[None] for digit, zeros in pairs)
        resampled = np.concatenate([resample(pen, self.positions) for pen in padded])
        x = resampled[which.reshape(-1)] * draws.height[:, None]
        places = np.arange(self.positions)
        x = np.take_along_axis(x, (places - draws.shift[:, None]) % self.positions, axis=1)
        x = np.where(x == 0, draws.smooth, x) + draws.rough
        return x - draws.slope[:, None] * np.linspace(-0.5, 0.5, self.positions)


def strokes() -> Doubles:
    """Return the ten digits (10, 12), each with standard deviation 1/6 and starting from 0."""
    x = np.array(STROKES)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    lifted: Doubles = x - x[:, :1]
    return lifted / 6


def resample(signals: Doubles, length: int) -> Doubles:
    """Interpolate each row (n, positions) linearly at `length` evenly spaced points."""
    old, new = np.linspace(0, 1, signals.shape[1]), np.linspace(0, 1, length)
    return np.stack([np.interp(new, old, row) for row in signals])


def smoothed(noise: Doubles) -> Doubles:
    """Convolve rows with a Gaussian; the signal is mirrored at its ends."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    taps /= taps.sum()
    wide = np.pad(noise, ((0, 0), (RADIUS, RADIUS)), mode="symmetric")
    out = np.zeros_like(noise)
    for i, tap in enumerate(taps):
        out += tap * wide[:, i : i + noise.shape[1]]
    return out
