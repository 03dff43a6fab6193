"""Resampling: interpolation, and exchange of channels and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Number, Shape, Window, by_x, per_axis, whole
from .arithmetic import Line, line, unchanged
from .base import Example, Extent, Layer, Margin, Plan, all_floats, floats, positions
from .pool import pooled_plan

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module

Factor = Annotated[float, Field(gt=0, le=1e6)]
Mode = Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear"]
MOST_COPIES = 32
"""Largest factor at which torch's nearest repeats each value equally often; at 41 its rounding errors show."""
RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
"""Number of axes of positions that a mode is for; the other modes take any number."""


class Upsample(Layer):
    """Resize by repeating the nearest value, or by interpolation.

    Output position p of an axis lies at p * r of the input for nearest, at (p + 1/2) * r for nearest-exact, at p * r
    for the others with `align_corners`, and at (p + 1/2) * r - 1/2 without. r is 1 / scale_factor, or size / size',
    or with `align_corners` (size - 1) / (size' - 1). The nearest ones round down; linear, bilinear and trilinear see
    the two values around the place on each axis, bicubic the four. For whole factors both nearest ones make copies;
    torch leaves `mode` at nearest, whose places are off by up to half a step for others, as OpenCV's are.

    Shapes: (C, *size) -> (C, *size'), where size' is size * scale_factor rounded down, or the field `size`. A bare
        value is the scale factor; torch's first argument is the size.
    Cost: no MACs, as torch's counter has it.
    Errors: both or none of `size` and `scale_factor`; align_corners with a nearest mode; a mode for another number of
        axes; a scale that leaves no positions; an input that is not of floats.
    Source: Prince 2023, Understanding Deep Learning, section 10.4.2. torch: Upsample.
    """

    kind: ClassVar[str] = "upsample"
    scale_factor: Factor | list[Factor] | None = Field(None, description="by how much each axis grows")
    size: Extent | None = Field(None, description="positions of the output on each axis")
    mode: Mode = Field(
        "nearest-exact",
        description="how values are made; torch leaves it at nearest, against which its documentation warns",
    )
    align_corners: bool | None = Field(None, description="whether the first and the last positions stay at the edges")
    recompute_scale_factor: bool | None = Field(
        None, description="take r from the sizes, also where scale_factor does not divide them"
    )

    example: ClassVar[Example] = Example({"scale_factor": 2}, [(4, 5, 5)], shape=(4, 10, 10))

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if (self.size is None) == (self.scale_factor is None):
            both = "both" if self.size is not None else "none"
            raise ValueError(f"give either `size` or `scale_factor`, not {both} of them")
        if self.align_corners is not None and self.mode.startswith("nearest"):
            raise ValueError(f"`align_corners` is for the modes that interpolate, not for {self.mode}")
        if self.recompute_scale_factor and self.size is not None:
            raise ValueError("`recompute_scale_factor` needs a `scale_factor`, and `size` is given")
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "upsample")
        size = positions(x, "upsample")
        rank = RANKS.get(self.mode, len(size))
        if rank != len(size):
            fitting = next(mode for mode, axes in RANKS.items() if axes == len(size))
            raise ShapeError(
                f"mode {self.mode} is for {rank} {'axis' if rank == 1 else 'axes'} of positions, and {{0}} has "
                f"{len(size)}",
                hint=f"Take {fitting} or nearest.",
                inputs=[x],
            )
        outs = self._outs(x)
        scales = [None] * len(size) if self.recompute_scale_factor else self._scales(len(size))
        axes = [self._axis(n, o, scale) for n, o, scale in zip(size, outs, scales, strict=True)]
        zeros, ones = (0,) * len(size), (1,) * len(size)
        window = Window(
            kernel=tuple(a[0] for a in axes),
            stride=tuple(a[1] for a in axes),
            before=tuple(int(a[0] == 4) for a in axes),
            after=zeros,
            dilation=ones,
            shift=tuple(a[2] for a in axes),
        )
        return Plan(shape=Shape((x.channels, *outs)), window=window, by_channel=True, saved=())

    def _axis(self, n: int, out: int, scale: float | None) -> tuple[int, Number, Number]:
        """Return the number of taps, the stride and the first position on an axis of `n` positions resized to
        `out`.
        """
        if self.align_corners:
            pace, first = Fraction(n - 1, max(out - 1, 1)) if out > 1 else Fraction(0), Fraction(0)
        else:
            pace = Fraction(n, out) if scale is None else 1 / Fraction(str(scale))
            first = {"nearest": Fraction(0), "nearest-exact": pace / 2}.get(self.mode, (pace - 1) / 2)
        taps = 1 if self.mode.startswith("nearest") or pace.denominator == first.denominator == 1 else 2
        if self.mode == "bicubic" and taps == 2:
            taps = 4
        return taps, whole(pace), whole(first)

    def _scales(self, rank: int) -> list[float | None]:
        factor = self.scale_factor
        if isinstance(factor, list):
            return list(per_axis(factor, rank, "scale_factor"))
        return [factor] * rank

    def _outs(self, x: Shape) -> tuple[int, ...]:
        if self.size is not None:
            return per_axis(self.size, len(x.size), "size")
        outs = tuple(floor(n * (s or 1)) for n, s in zip(x.size, self._scales(len(x.size)), strict=True))
        if min(outs) < 1:
            raise ShapeError(
                f"scale_factor = {self.scale_factor} leaves nothing of {{0}}: {by_x(outs)} positions",
                hint="A factor above 1 makes more positions, one below 1 fewer.",
                inputs=[x],
            )
        return outs

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        (x,) = xs
        if self.size is not None:
            grown = [line("size", {"size": n}, axes=k) for k, n in enumerate(plan.shape.size, start=1)]
        else:
            factors = [whole(Fraction(str(s))) for s in self._scales(len(x.size))]
            grown = [
                line("floor(size * scale_factor)", {"size": n, "scale_factor": s}, axes=k)
                for k, (n, s) in enumerate(zip(x.size, factors, strict=True), start=1)
            ]
        return [*unchanged(x, [0]), *grown]

    def module(self, *xs: Shape) -> Module:
        return nn.Upsample(**self.options() | {"mode": self.torch_mode(xs[0])})

    def torch_mode(self, x: Shape) -> str:
        """Return torch's mode: nearest where both nearest modes give the same copies, since more programs can
        read it.
        """
        factors = [Fraction(out, n) for out, n in zip(self._outs(x), x.size, strict=True)]
        copies = all(factor.denominator == 1 and factor <= MOST_COPIES for factor in factors)
        return "nearest" if self.mode == "nearest-exact" and copies else self.mode


class PixelShuffle(Layer):
    """Rearrange channels to positions: `upscale_factor` channels for each axis become as many positions.

    The r * r channels from c * r * r on become an r x r square at each position of channel c, row by row. torch's own
    takes images alone; this one signals and volumes too.

    Shapes: (C * r^axes, *size) -> (C, *(size * r)), r = `upscale_factor`: r, r * r or r * r * r channels become one.
    Cost: nothing is computed; the values are copied.
    Errors: channels that are not a multiple of r^axes; no positions, or more than three axes of them.
    Source: Shi et al. 2016, arXiv:1609.05158, section 2.2. torch: PixelShuffle.
    """

    kind: ClassVar[str] = "pixel_shuffle"
    upscale_factor: PositiveInt = Field(description="by how much each axis grows")

    example: ClassVar[Example] = Example({"upscale_factor": 2}, [(8, 5, 5)], shape=(2, 10, 10))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        r, rank = self.upscale_factor, len(positions(x, "pixel_shuffle"))
        if x.channels % r**rank:
            raise ShapeError(
                f"pixel_shuffle makes one channel of {by_x([r] * rank)}, and {{0}} has {x.channels} channels",
                hint=f"Make them a multiple of {r**rank} in the layer before.",
                inputs=[x],
            )
        ones, zeros = (1,) * rank, (0,) * rank
        pace = Fraction(1, r) if r > 1 else 1
        window = Window(ones, (pace,) * rank, zeros, zeros, ones)
        shape = Shape((x.channels // r**rank, *(n * r for n in x.size)), x.dtype)
        return Plan(shape=shape, window=window, saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.resample import PixelShuffle as Built

        return nn.PixelShuffle(self.upscale_factor) if len(xs[0]) == 3 else Built(self.upscale_factor)


class PixelUnshuffle(Layer):
    """Rearrange blocks of positions to channels: space to depth.

    Shapes: (C, *size) -> (C * r^axes, *(size / r)), r = `downscale_factor`; it undoes `pixel_shuffle`.
    Cost: nothing is computed; the values are copied.
    Errors: a size that is not a multiple of r; no positions, or more than three axes of them.
    Source: Shi et al. 2016, arXiv:1609.05158, section 2.2. torch: PixelUnshuffle.
    """

    kind: ClassVar[str] = "pixel_unshuffle"
    downscale_factor: PositiveInt = Field(description="by how much each axis shrinks")

    example: ClassVar[Example] = Example({"downscale_factor": 2}, [(2, 10, 10)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        r, size = self.downscale_factor, positions(x, "pixel_unshuffle")
        if any(n % r for n in size):
            raise ShapeError(
                f"pixel_unshuffle takes blocks of {by_x([r] * len(size))}, which do not fill {by_x(size)} of {{0}}",
                hint="`- pad` or `- crop` makes the size a multiple of it.",
                inputs=[x],
            )
        shape = Shape((x.channels * r ** len(size), *(n // r for n in size)), x.dtype)
        return Plan(shape=shape, window=Window.over(len(size), r, r), saved=())

    def module(self, *xs: Shape) -> Module:
        from ..modules.resample import PixelUnshuffle as Built

        return nn.PixelUnshuffle(self.downscale_factor) if len(xs[0]) == 3 else Built(self.downscale_factor)


class MaxUnpool(Layer):
    """Invert a `max_pool`: each value goes to the position of its maximum, all others are 0.

    Takes two inputs, `from: [values, pooled]`: the values to put back, and what went into the pool, in which the
    positions of the maxima are found again. No gradient reaches the second, and the receptive field leaves it out.
    Where windows overlap and share a maximum, one of their values is lost.

    Shapes: values (C, *size) and what was pooled (C, *size') -> (C, *size'), where `max_pool` with the same fields
        makes size of size', rounded down or up (`ceil_mode`).
    Cost: no MACs; the pool runs once more.
    Errors: inputs of other channels; a pool that makes another size; a padding above half the kernel; an input that
        is not of floats.
    Source: Noh et al. 2015, arXiv:1505.04366, section 3.1; Prince 2023, Understanding Deep Learning, section 10.4.2.
        torch: MaxUnpool1d, MaxUnpool2d, MaxUnpool3d.
    """

    kind: ClassVar[str] = "max_unpool"
    kernel_size: Extent = Field(description="taps of the pool on each axis")
    stride: Extent | None = Field(None, description="its positions between two stops; the kernel size without")
    padding: Margin = Field(0, description="its positions added on each side")

    arity: ClassVar[int | tuple[int, ...] | None] = 2
    example: ClassVar[Example] = Example({"kernel_size": 2}, [(8, 5, 5), (8, 11, 10)], shape=(8, 11, 10))

    def plan(self, *xs: Shape) -> Plan:
        all_floats(xs, "max_unpool")
        values, pooled = xs
        self._rounds_up(values, pooled)
        window = self._window(pooled)
        return Plan(
            shape=pooled,
            window=window.transposed,
            by_channel=True,
            no_gradient=(1,),
            saved=(),
            saved_bytes=8 * values.count,
        )  # the positions, as int64

    def module(self, *xs: Shape) -> Module:
        from ..modules.resample import MaxUnpool as Built

        window = self._window(xs[1])
        return Built(window.kernel, tuple(map(int, window.stride)), window.before, self._rounds_up(*xs))

    def _window(self, pooled: Shape) -> Window:
        stride = self.stride if self.stride is not None else self.kernel_size
        return Window.over(len(positions(pooled, "max_unpool")), self.kernel_size, stride, self.padding)

    def _rounds_up(self, values: Shape, pooled: Shape) -> bool:
        """Whether the values come from a pool with `ceil_mode`. ShapeError where no pool with these fields
        gives them.
        """
        window = self._window(pooled)
        down, up = (pooled_plan(pooled, w, "max_unpool").shape for w in (window, replace(window, ceil_mode=True)))
        if values not in (down, up):
            raise ShapeError(
                f"max_unpool puts the values of {{0}} back to where {{1}} had its maxima, and a pool of "
                f"{by_x(window.kernel)} makes {down} of that",
                hint="Name `from: [values, pooled]`, the second being what went into the pool; give its fields.",
                inputs=[values, pooled],
            )
        return values != down
