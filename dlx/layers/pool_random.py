"""Pooling with random numbers in training."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from ..errors import ShapeError
from ..lazy import nn
from ..shapes import Number, Shape, Window, by_x, per_axis, whole
from .base import Example, Extent, Layer, Plan, floats, positions, window_warnings

if TYPE_CHECKING:
    from typing import Self

    from torch.nn import Module

Ratio = Annotated[float, Field(gt=0, lt=1)]


class StochasticPool(Layer):
    """Sample one value from each window, with probabilities in proportion to the values.

    For evaluation it is the average that this comes to: each value weighs as much as it is likely. Values below 0
    count as 0, so it stands behind a `relu`; a window without a value above 0 gives 0.

    Shapes: (C, *size) -> (C, *size') with size' = (size - kernel_size) // stride + 1 on each axis.
    Cost: no MACs; the sums are not counted.
    Errors: no positions, or more than three axes of them; a window larger than the input; an input that is not of
        floats.
    Source: Zeiler & Fergus 2013, arXiv:1301.3557, section 3. torch: none.
    """

    kind: ClassVar[str] = "stochastic_pool"
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent | None = Field(None, description="positions between two stops; the kernel size without")

    example: ClassVar[Example] = Example({"kernel_size": 3, "stride": 2}, [(8, 11, 11)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "stochastic_pool")
        positions(x, "stochastic_pool")
        window = self._window(x)
        shape = Shape((x.channels, *window.slide(x.size)))
        return Plan(
            shape=shape,
            window=window,
            by_channel=True,
            saved_bytes=8 * shape.count + self._values(x, window, shape),  # which one, as int64, of which values
            warnings=window_warnings(window, x.size),
        )

    @staticmethod
    def _values(x: Shape, window: Window, shape: Shape) -> int:
        """Return the bytes of the values in the windows: a copy, or a view where a window is one-dimensional."""
        along = sum(k > 1 for k in window.kernel)
        return x.bytes if along < 2 else shape.bytes * prod(window.kernel)

    def module(self, *xs: Shape) -> Module:
        from ..modules.pool import StochasticPool as Built

        window = self._window(xs[0])
        return Built(window.kernel, tuple(map(int, window.stride)))

    def _window(self, x: Shape) -> Window:
        return Window.over(len(x.size), self.kernel_size, self.kernel_size if self.stride is None else self.stride)


class MaxPoolDropout(Layer):
    """Maximum over the values of a window that are not dropped; each is dropped with probability p in training.

    For evaluation the values are averaged by how likely each is to be the largest that is left: of those in falling
    order, number i weighs (1 - p) * p^(i - 1). A window of which all are dropped gives 0, and values below 0 count
    as 0, so it stands behind a `relu`. Unlike `dropout` followed by `max_pool` nothing is scaled up.

    Shapes: (C, *size) -> (C, *size') with size' = (size - kernel_size) // stride + 1 on each axis.
    Cost: no MACs; comparisons are not counted.
    Errors: no positions, or more than three axes of them; a window larger than the input; an input that is not of
        floats.
    Source: Wu & Gu 2015, arXiv:1512.01400, section 3; Prince 2023, Understanding Deep Learning, notes of chapter 10.
        torch: none.
    """

    kind: ClassVar[str] = "max_pool_dropout"
    kernel_size: Extent = Field(description="taps on each axis")
    stride: Extent | None = Field(None, description="positions between two stops; the kernel size without")
    p: float = Field(0.5, ge=0, le=1, description="probability that a value is dropped")

    example: ClassVar[Example] = Example({"kernel_size": 2}, [(8, 10, 10)], shape=(8, 5, 5))

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "max_pool_dropout")
        positions(x, "max_pool_dropout")
        window = self._window(x)
        shape = Shape((x.channels, *window.slide(x.size)))
        return Plan(
            shape=shape,
            window=window,
            by_channel=True,
            saved_bytes=(8 + prod(window.kernel)) * shape.count,  # which one, as int64; what is dropped, a byte each
            warnings=window_warnings(window, x.size),
        )

    def module(self, *xs: Shape) -> Module:
        from ..modules.pool import MaxPoolDropout as Built

        window = self._window(xs[0])
        return Built(window.kernel, tuple(map(int, window.stride)), self.p)

    def _window(self, x: Shape) -> Window:
        return Window.over(len(x.size), self.kernel_size, self.kernel_size if self.stride is None else self.stride)


class FractionalMaxPool(Layer):
    """Maximum over windows at random positions, so that the size shrinks by any factor.

    Window p begins at position floor((p + u) * a) - floor(u * a) with a = (size - kernel_size) / (size' - 1) and u
    drawn anew for each sample and channel, in evaluation too; the last window ends with the input.

    Shapes: (C, *size) -> (C, *size') with size' = `output_size`, or size * `output_ratio` rounded down; images and
        volumes.
    Cost: no MACs; comparisons are not counted.
    Errors: both or none of `output_size` and `output_ratio`; a signal, which torch does not take; a size' that leaves
        the windows less than a position apart (for a volume, exactly one apart too), or none; an input that is not of
        floats.
    Source: Graham 2014, arXiv:1412.6071, section 2. torch: FractionalMaxPool2d, FractionalMaxPool3d.
    """

    kind: ClassVar[str] = "fractional_max_pool"
    kernel_size: Extent = Field(description="taps on each axis")
    output_size: Extent | None = Field(None, description="positions of the output on each axis")
    output_ratio: Ratio | list[Ratio] | None = Field(None, description="output positions for each input position")

    example: ClassVar[Example] = Example({"kernel_size": 2, "output_size": [5, 9]}, [(8, 10, 10)], shape=(8, 5, 9))

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.output_size is None) == (self.output_ratio is None):
            which = "both" if self.output_size is not None else "none"
            raise ValueError(f"give either `output_size` or `output_ratio`, not {which} of them")
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, "fractional_max_pool")
        size = positions(x, "fractional_max_pool")
        if len(size) == 1:
            raise ShapeError(
                "fractional_max_pool takes images and volumes, as torch's does, and {0} has one axis of positions",
                hint="`- reshape` gives it a second one of length 1.",
                inputs=[x],
            )
        kernel, outs = per_axis(self.kernel_size, len(size), "kernel_size"), self._outs(size)
        spare = int(len(size) == 3)  # torch leaves a position of a volume over
        if min(outs) < 1 or any(o + k - 1 + spare > n for o, k, n in zip(outs, kernel, size, strict=True)):
            raise ShapeError(
                f"fractional_max_pool cannot set {by_x(outs)} windows of {by_x(kernel)} on {{0}}, each further on",
                hint=f"The output has from 1 to size - kernel_size{'' if spare else ' + 1'} positions on each axis.",
                inputs=[x],
            )
        shape = Shape((x.channels, *outs))
        return Plan(shape=shape, window=_between(size, outs, kernel), by_channel=True, saved_bytes=8 * shape.count)

    def module(self, *xs: Shape) -> Module:
        kinds: dict[int, Any] = {2: nn.FractionalMaxPool2d, 3: nn.FractionalMaxPool3d}
        size = xs[0].size
        made: Module = kinds[len(size)](
            per_axis(self.kernel_size, len(size), "kernel_size"), output_size=self._outs(size)
        )
        return made

    def _outs(self, size: tuple[int, ...]) -> tuple[int, ...]:
        if self.output_size is not None:
            return per_axis(self.output_size, len(size), "output_size")
        ratio = self.output_ratio
        ratios = per_axis(ratio if isinstance(ratio, list) else [ratio or 1.0] * len(size), len(size), "output_ratio")
        return tuple(int(n * r) for n, r in zip(size, ratios, strict=True))


def _between(size: tuple[int, ...], outs: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the window that covers all possible positions of the random windows."""
    paces: list[Number] = []
    widths, before = [], []
    for n, out, k in zip(size, outs, kernel, strict=True):
        pace = whole(Fraction(n - k, out - 1)) if out > 1 else 0
        paces.append(pace)
        widths.append(k + (pace.denominator > 1))
        before.append(k - n if out == 1 else 0)
    zeros, ones = (0,) * len(size), (1,) * len(size)
    return Window(tuple(widths), tuple(paces), tuple(before), zeros, ones)
