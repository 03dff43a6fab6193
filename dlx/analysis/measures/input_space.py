"""The inputs of a network before preprocessing: there changes have a size, and pictures are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...lazy import np, torch
from ..result import Lines, Panel, Pictures

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ..subject import Subject

    Array = npt.NDArray[Any]

EXAMPLES = 1_000
"""Examples of the training part whose values are looked at."""
CHANNELS = (1, 3)


@dataclass(frozen=True)
class InputSpace:
    """Raw inputs x, of which a network takes (x - shift) / scale.

    Attributes:
        size: the shape of an input as the network takes it; here vectors (features,) have a channel, (1, features).
        shift, scale: of one input, (channels, *size).
        limits: least and greatest value of an input; those of pictures from 0 to 1 where the data lies within.
        norm: mean L2 norm of the training inputs.
        mean: the mean training input, (channels, *size).
        is_raw: whether these are the inputs before preprocessing; False where a step of it is no affine map of each
            value by itself, so that the space is that of the network's own inputs.
    """

    size: tuple[int, ...]
    shift: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    limits: tuple[float, float]
    norm: float
    mean: Tensor = field(repr=False)
    is_raw: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    @property
    def range(self) -> float:
        """The greatest value minus the least."""
        return self.limits[1] - self.limits[0]

    @property
    def is_picture(self) -> bool:
        """Whether an input is looked at as a picture, (1 or 3, height, width)."""
        return len(self.shape) == 3 and self.shape[0] in CHANNELS

    def to_network(self, raw: Tensor) -> Tensor:
        """Return raw inputs (N, channels, *size) as the network takes them."""
        return ((raw - self.shift) / self.scale).view(len(raw), *self.size)

    def to_raw(self, x: Tensor) -> Tensor:
        """Return inputs of the network before preprocessing, (N, channels, *size)."""
        return x.float().view(len(x), *self.shape) * self.scale + self.shift

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Return inputs (count, *shape) that are uniform between the limits."""
        made = torch.rand((count, *self.shape), generator=generator).to(self.shift.device)
        return self.limits[0] + self.range * made

    def shown(self, raw: Tensor) -> Array:
        """Return an input (*shape) as a picture (height, width, 1 or 3) from 0 to 1."""
        values = np.moveaxis(raw.detach().float().cpu().numpy(), 0, -1)
        picture: Array = np.clip((values - self.limits[0]) / (self.range or 1.0), 0, 1)
        return picture


def space_of(subject: Subject) -> InputSpace:
    """Return the raw inputs of a subject's one network; of a spec without data those of its normal inputs."""
    x = subject.examples(EXAMPLES, part="train" if subject.has_data else "").inputs[0].float()
    shift, scale, is_raw = torch.zeros_like(x[0]), torch.ones_like(x[0]), True
    if subject.has_data and subject.sets.preprocess:
        found = _affine(subject.sets.preprocess, tuple(x.shape[1:]))
        is_raw = found is not None
        if found is not None:
            shift, scale = (one.to(x) for one in found)
        else:
            steps = ", ".join(f"`{one.step.kind}`" for one in subject.sets.preprocess)
            subject.note(f"sizes are those of the network's inputs: {steps} is no affine map of each value by itself")
    size = tuple(x.shape[1:])
    shape = size if len(size) > 1 else (1, *size)
    shift, scale = shift.view(shape), scale.view(shape)
    raw = x.view(len(x), *shape) * scale + shift
    limits = float(raw.min()), float(raw.max())
    if limits[0] >= -1e-4 and limits[1] <= 1 + 1e-4:
        limits = (0.0, 1.0)
    return InputSpace(size, shift, scale, limits, float(raw.flatten(1).norm(dim=1).mean()), raw.mean(0), is_raw)


def _affine(steps: Sequence[Any], shape: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
    """Return shift and scale of fitted steps that map each value by itself, x to (x - shift) / scale; else None.

    They are measured: at zeros, at ones, and checked at random inputs.
    """
    from ...data.preprocess import applied

    at_random = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    probes = np.concatenate([np.zeros((1, *shape), np.float32), np.ones((1, *shape), np.float32), at_random])
    try:
        found = np.asarray(applied(steps, probes), np.float64)
    except (ValueError, ArithmeticError):  # steps that change the shape before one that was fitted to another
        return None
    if found.shape != probes.shape:
        return None
    slope = found[1] - found[0]
    expected = found[0] + slope * at_random
    if not (slope > 0).all() or not np.allclose(found[2:], expected, rtol=1e-3, atol=1e-3 * float(slope.max())):
        return None
    return torch.from_numpy(-found[0] / slope).float(), torch.from_numpy(1 / slope).float()


def panels_of(title: str, space: InputSpace, inputs: Sequence[tuple[str, Tensor]], columns: int) -> tuple[Panel, ...]:
    """Return inputs (*shape) with captions as pictures; signals and vectors as lines, in as many panels as rows."""
    if space.is_picture:
        return (Panel(title, "", "", (Pictures([(text, space.shown(x)) for text, x in inputs], columns),)),)
    rows = [inputs[i : i + columns] for i in range(0, len(inputs), columns)]
    axis = "position" if len(space.size) > 1 else "input"
    return tuple(
        Panel(f"{title}, {i + 1}" if len(rows) > 1 else title, axis, "value", tuple(line_of(*pair) for pair in row))
        for i, row in enumerate(rows)
    )


def line_of(label: str, values: Tensor, dashed: bool = False) -> Lines:
    """Return the values of an input, or of a map of one, as a line."""
    flat = values.detach().float().cpu().flatten().numpy()
    return Lines(label, np.arange(len(flat)), flat, dashed=dashed)


def resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return maps (N, *size') of another size, by linear interpolation."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return torch.nn.functional.interpolate(maps[:, None], size=size, mode=mode, align_corners=False)[:, 0]


def diverging(values: Array) -> Array:
    """Return values (height, width) as colours (height, width, 3): blue below 0, white at 0, red above."""
    scaled = values / (float(np.abs(values).max()) or 1.0)
    faded = 1 - np.abs(scaled)
    red, blue = np.where(scaled >= 0, 1.0, faded), np.where(scaled <= 0, 1.0, faded)
    colours: Array = np.stack([red, faded, blue], -1)
    return colours
