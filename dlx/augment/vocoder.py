"""Random changes of tempo without pitch, and of pitch without tempo, by a phase vocoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..errors import ShapeError
from ..lazy import torch
from ..shapes import Shape
from .base import uniform
from .ranges import Positive, Range, ordered
from .signals import AlongTime

if TYPE_CHECKING:
    from torch import Tensor

TAPS = 16
"""Values beside a place, on each side, of which one between two steps is made."""


class _Vocoder(AlongTime):
    """Base class of what goes through a short-time Fourier transform: Hann windows, a quarter of one apart."""

    ranks: ClassVar[tuple[int, ...]] = (2,)
    n_fft: int = Field(512, ge=8, multiple_of=4, description="steps of a window of the Fourier transform")

    def output_shape(self, x: Shape) -> Shape:
        super().output_shape(x)
        steps = self.steps(x)
        if steps <= self.n_fft // 2:
            raise ShapeError(
                f"{self.kind} looks at windows of {self.n_fft} steps, and an example has {steps}",
                hint="Take a smaller `n_fft`, of a few turns of the slowest wave, and shorter than the example.",
            )
        return x

    def apply(self, x: Tensor) -> Tensor:
        whole = self.last(x)
        # of other columns than one at a time: each is a wave, with the draw of its example
        waves = whole.flatten(0, 1).float()
        found = self.changed(waves, self.factors(x).repeat_interleave(whole.shape[1]))
        return self.last(found.view(whole.shape).to(x.dtype))

    def factors(self, x: Tensor) -> Tensor:
        """Draw the factor of each example (N,)."""
        raise TypeError(f"{type(self).__name__} has no factors()")

    def changed(self, waves: Tensor, factor: Tensor) -> Tensor:
        """Change waves (N, length) by a factor each (N,)."""
        raise TypeError(f"{type(self).__name__} has no changed()")


class TimeStretch(_Vocoder):
    """Play each wave faster or slower at its pitch, by a rate uniform in `rate`, about its middle.

    Magnitudes of the short-time Fourier transform are interpolated linearly between its frames, and phases go on by
    what they advance there, locked to the phase of the nearest peak. The length stays: zeros stand around what is
    shorter, and what is longer is cut off.
    Shapes: (channels, length); with `time: first` (window, columns).
    Errors: examples of half a window of `n_fft` or less.
    Source: Flanagan & Golden 1966, Phase vocoder; Laroche & Dolson 1999, Improved phase vocoder time-scale
        modification of audio, identity phase locking. torchaudio: phase_vocoder, and PitchShift for `n_fft`; librosa:
        time_stretch, both without locking.
    """

    kind: ClassVar[str] = "time_stretch"
    rate: Annotated[Range[Positive], ordered("rate")] = Field([0.8, 1.25], description="smallest and largest")

    def factors(self, x: Tensor) -> Tensor:
        return uniform(x, self.rate)

    def changed(self, waves: Tensor, factor: Tensor) -> Tensor:
        length = waves.shape[1]
        frames = spectrum(waves, self.n_fft)
        last, middle = frames.shape[2] - 1, (length - 1) / 2 / (self.n_fft // 4)
        places = torch.arange(last + 1, device=waves.device) * factor[:, None] + middle * (1 - factor[:, None])
        steps = torch.arange(length, device=waves.device) - (length - 1) / 2
        inside = (steps * factor[:, None]).abs() <= (length - 1) / 2 + 1e-4
        return wave(vocoded(frames, places), self.n_fft, length) * inside


class PitchShift(_Vocoder):
    """Raise or lower the pitch of each wave at its tempo, by semitones uniform in `semitones`.

    A wave is stretched by 2^(semitones / 12) as by `time_stretch`, and read so much faster, between two steps by a
    windowed sinc of 32 values; frequencies that would pass half the sampling rate are left out.
    Shapes: (channels, length); with `time: first` (window, columns).
    Errors: examples of half a window of `n_fft` or less.
    Source: Laroche & Dolson 1999, New phase-vocoder techniques for pitch-shifting. torchaudio: PitchShift;
        audiomentations: PitchShift.
    """

    kind: ClassVar[str] = "pitch_shift"
    semitones: Annotated[Range[Annotated[float, Field(ge=-48, le=48)]], ordered("semitones")] = Field(
        [-2.0, 2.0], description="smallest and largest; 12 are an octave"
    )

    def factors(self, x: Tensor) -> Tensor:
        return 2 ** (uniform(x, self.semitones) / 12)

    def changed(self, waves: Tensor, factor: Tensor) -> Tensor:
        length, hop = waves.shape[1], self.n_fft // 4
        frames = spectrum(waves, self.n_fft)
        below = torch.arange(frames.shape[1], device=waves.device) * factor[:, None] <= self.n_fft // 2
        frames = frames * below[:, :, None]
        # as long as the largest pitch wants it, whatever was drawn: sizes come without waiting for the device
        longer = int(length * 2 ** (self.semitones[1] / 12)) + TAPS
        places = torch.arange(longer // hop + 2, device=waves.device) / factor[:, None]
        slower = wave(vocoded(frames, places), self.n_fft, longer)
        return resampled(slower, torch.arange(length, device=waves.device) * factor[:, None])


def spectrum(waves: Tensor, n_fft: int) -> Tensor:
    """Return the short-time Fourier transform of waves (N, length): (N, n_fft / 2 + 1, frames)."""
    window = torch.hann_window(n_fft, device=waves.device)
    return torch.stft(waves, n_fft, n_fft // 4, window=window, return_complex=True)


def wave(frames: Tensor, n_fft: int, length: int) -> Tensor:
    """Return the waves (N, length) of frames (N, n_fft / 2 + 1, frames); zeros where they have no frames."""
    window = torch.hann_window(n_fft, device=frames.device)
    return torch.istft(frames, n_fft, n_fft // 4, window=window, length=length)


def vocoded(frames: Tensor, places: Tensor) -> Tensor:
    """Return frames (N, F, K) that are read at `places` (N, K) of frames (N, F, T), clamped to the first and last.

    The phase of a bin goes on by the advance between the two frames at its place, with those of its peak: within the
    region of a peak phases keep the differences that they had, or the components of one sine would cancel.
    """
    places = places.clamp(0, frames.shape[2] - 1)
    below = places.floor().long().clamp_max(frames.shape[2] - 2)
    first, second = (frames.gather(2, at[:, None].expand(-1, frames.shape[1], -1)) for at in (below, below + 1))
    magnitude = torch.lerp(first.abs(), second.abs(), (places - below)[:, None].to(first.abs().dtype))
    angle = first.angle()
    # a hop of a quarter of a window: each bin turns by a quarter more than the one before
    expected = torch.pi / 2 * torch.arange(frames.shape[1], device=frames.device)[:, None]
    turned = second.angle() - angle - expected
    advance = expected + turned - 2 * torch.pi * (turned / (2 * torch.pi)).round()
    peaks = _nearest_peak(magnitude)
    here = angle + advance * (places - below)[:, None]
    beside = here - here.gather(1, peaks)
    phases = [here[..., 0]]
    for peak, apart, more in zip(
        *(x.unbind(2)[n:] for x, n in ((peaks, 1), (beside, 1), (advance, 0))), strict=False
    ):
        phases.append(((phases[-1] + more).gather(1, peak) + apart).remainder(2 * torch.pi))
    return torch.polar(magnitude, torch.stack(phases, 2))


def _nearest_peak(magnitude: Tensor) -> Tensor:
    """Return the bin of the peak that is nearest to each bin of (N, F, K); a peak has none larger within two bins."""
    bins = torch.arange(magnitude.shape[1], device=magnitude.device)[:, None]
    largest = torch.nn.functional.max_pool2d(magnitude, (5, 1), 1, (2, 0))
    none = 2 * len(bins)
    lower = torch.where(magnitude == largest, bins, -none).cummax(1).values
    upper = torch.where(magnitude == largest, bins, none).flip(1).cummin(1).values.flip(1)
    return torch.where(upper - bins < bins - lower, upper, lower)


def resampled(x: Tensor, places: Tensor) -> Tensor:
    """Return the values of x (N, length) at `places` (N, steps) by a sinc with a Hann window; zeros beyond."""
    padded = torch.nn.functional.pad(x, (TAPS, TAPS))
    below = places.floor().long().clamp(0, x.shape[1] - 1)
    found = torch.zeros_like(places)
    for tap in range(1 - TAPS, TAPS + 1):
        apart = places - below - tap
        weight = torch.sinc(apart) * torch.cos(torch.pi / 2 * apart / TAPS) ** 2
        found = found + padded.gather(1, below + tap + TAPS) * weight
    return found
