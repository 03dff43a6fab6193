"""The arithmetic of shapes, sliding windows and receptive fields. No torch.

Shapes are those of one sample, channels first: `(channels, *size)`; a vector is `(features,)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm, log10, prod
from typing import Final, Literal, TypeVar

from .errors import ShapeError, plural

Number = int | Fraction
Extent = int | Sequence[int]
Padding = Extent | Literal["same", "valid", "causal"]

BYTES: Final = {"float": 4, "int": 8, "bool": 1}
"""Bytes of one value of a dtype, as torch stores it by default (float32, int64, bool)."""

# Exact up to this many stops: the loop over one period costs its length for each layer and axis. Beyond it the hull
# is bounded in closed form, which may be a position wider than needed.
LONGEST_PERIOD: Final = 256
"""Longest period, in stops, of a fractional stride whose receptive field is computed exactly."""

UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


class Shape(tuple[int, ...]):
    """The shape of one sample; a tuple that also knows its dtype: "float", "int" or "bool"."""

    dtype: str

    def __new__(cls, axes: Sequence[int] = (), dtype: str = "float") -> Shape:
        shape = super().__new__(cls, axes)
        shape.dtype = dtype
        return shape

    @property
    def channels(self) -> int:
        """The first axis: channels of an image, features of a vector."""
        return self[0]

    @property
    def size(self) -> tuple[int, ...]:
        """Lengths of the axes after the first (H and W of an image); empty for a vector."""
        return tuple(self[1:])

    @property
    def rank(self) -> int:
        """Number of axes: 1 for a vector, 2 for a signal, 3 for an image, 4 for a volume."""
        return len(self)

    @property
    def count(self) -> int:  # type: ignore[override]  # replaces tuple.count(value), of no use for a shape
        """Number of values in one sample."""
        return prod(self)

    @property
    def bytes(self) -> int:
        """Memory of one sample in its dtype, in bytes."""
        return self.count * BYTES[self.dtype]

    def __repr__(self) -> str:
        return f"({', '.join(map(str, self))}{',' if len(self) == 1 else ''})"

    __str__ = __repr__


def by_x(axes: Sequence[object]) -> str:
    """Join the lengths of axes: `40x40`."""
    return "x".join(map(str, axes))


N = TypeVar("N", int, float, int | None)


def bytes_text(count: float) -> str:
    """Format a number of bytes in decimal units with three figures: `512 B`, `1.4 MB`, `16 TB`."""
    power = min(int(log10(max(count, 1)) // 3), len(UNITS) - 1)
    return f"{count / 1000**power:.3g} {UNITS[power]}"


def per_axis(value: int | Sequence[N], rank: int, what: str) -> tuple[N, ...]:
    """Return one value for each of `rank` axes; a single number serves all of them.

    `what` names the option in the error. Errors: ShapeError where the number of values is not `rank`.
    """
    if isinstance(value, int):
        return (value,) * rank
    if len(value) != rank:
        axes = "1 axis" if rank == 1 else f"{rank} axes"
        raise ShapeError(
            f"{what} = {list(value)} has {plural(len(value), 'value')} for an input with {axes} of positions",
            hint="Give one number." if rank == 1 else f"Give one number, or {rank} of them.",
        )
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window, with one entry per axis of positions.

    `before` and `after` are padded positions (negative: cropped), `stride` is the number of input positions between
    two stops: stop p begins at input position `floor(p*stride + shift) - before`. A fractional stride is an
    upsampling, or an adaptive pooling whose windows do not divide the input evenly.
    """

    kernel: tuple[int, ...]
    stride: tuple[Number, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False
    shift: tuple[Number, ...] = ()
    """Offset of the first stop, in input positions; empty for none."""

    @classmethod
    def over(
        cls,
        rank: int,
        kernel: Extent,
        stride: Extent = 1,
        padding: Padding = 0,
        dilation: Extent = 1,
        ceil_mode: bool = False,
    ) -> Window:
        """Build a window for `rank` axes of positions from torch's arguments.

        Errors: ShapeError where an argument has another number of values than `rank`.
        """
        kernels, strides = per_axis(kernel, rank, "kernel_size"), per_axis(stride, rank, "stride")
        dilations = per_axis(dilation, rank, "dilation")
        if padding == "same":
            # torch puts the odd position of an even kernel at the end: F.conv2d(padding="same")
            total = [d * (k - 1) for k, d in zip(kernels, dilations, strict=True)]
            before: tuple[int, ...] = tuple(t // 2 for t in total)
            after: tuple[int, ...] = tuple(t - t // 2 for t in total)
        elif padding == "causal":
            before = tuple(d * (k - 1) for k, d in zip(kernels, dilations, strict=True))
            after = (0,) * rank
        elif isinstance(padding, str):
            before = after = (0,) * rank
        else:
            before = after = per_axis(padding, rank, "padding")
        return cls(kernels, strides, before, after, dilations, ceil_mode)

    @property
    def extent(self) -> tuple[int, ...]:
        """Input positions that one stop spans, from its first tap to its last: dilation * (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def transposed(self) -> Window:
        """The window of the transposed operation: the stops of this window that cover a position.

        It is the receptive field of a transposed convolution or an unpooling, as a hull: some positions are covered
        by one stop less, and a dilation leaves stops out.
        """
        last = [e - 1 for e in self.extent]
        zeros, ones = (0,) * len(last), (1,) * len(last)
        return Window(
            kernel=tuple(int(e // s) + 1 for e, s in zip(last, self.stride, strict=True)),
            stride=tuple(whole(Fraction(1) / s) for s in self.stride),
            before=zeros,
            after=zeros,
            dilation=ones,
            shift=tuple(
                whole(Fraction(before - e + s - 1) / s)
                for e, s, before in zip(last, self.stride, self.before, strict=True)
            ),
        )

    def slide(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the output size on each axis for an input of `size`.

        Errors: ShapeError where the window is larger than the padded input.
        """
        stops = []
        for n, extent, s, before, after in zip(size, self.extent, self.stride, self.before, self.after, strict=True):
            room = n + before + after - extent
            if self.ceil_mode:
                stop = ceil(Fraction(room) / s) + 1
                stop -= (stop - 1) * s >= n + before  # as in torch, the last window must start inside
            else:
                stop = room // s + 1
            if stop < 1:
                raise ShapeError(
                    f"a window of {by_x(self.extent)} is larger than its input of {by_x(size)}"
                    + (f" padded to {by_x(self._padded(size))}" if any(self.before + self.after) else ""),
                    hint="Take a smaller kernel, dilation or earlier stride, or more padding.",
                )
            stops.append(int(stop))
        return tuple(stops)

    def uncovered(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the number of positions at the end of each axis that no stop covers.

        It is 0 on an axis whose stride exceeds the window: there positions are skipped everywhere, by intent.
        """
        return tuple(
            0 if s > extent else max(0, int(n + before - ((stops - 1) * s + extent)))
            for n, extent, s, before, stops in zip(
                size, self.extent, self.stride, self.before, self.slide(size), strict=True
            )
        )

    def _padded(self, size: Sequence[int]) -> list[int]:
        return [n + b + a for n, b, a in zip(size, self.before, self.after, strict=True)]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The receptive field of a value on one input, with one entry per axis of positions of that input.

    Position p depends on the input positions from `floor(start + p*stride)` on, `size` of them, clipped to the input.
    A size of None is the whole axis. With a fractional stride the positions of one period differ and this is their
    hull. A stride of 0 is an axis along which every value depends on the same positions. `aligned` is False after a
    merge of branches whose strides or centres differ.

    Source: Araujo et al. 2019, Computing Receptive Fields of Convolutional Neural Networks, Distill.
    """

    size: tuple[Number | None, ...]
    stride: tuple[Number, ...]
    start: tuple[Number, ...]
    aligned: bool = True

    @property
    def is_global(self) -> bool:
        """Whether every value depends on the whole input."""
        return all(s is None for s in self.size)

    def as_json(self) -> dict[str, object] | Literal["global"]:
        if self.is_global and self.size:
            return "global"
        return {
            "size": ["global" if z is None else _plain(z) for z in self.size],
            "stride": [_plain(s) for s in self.stride],
            "start": [_plain(s) for s in self.start],
        }

    def __str__(self) -> str:
        if self.is_global:
            return "global"
        sizes = ["global" if z is None else str(whole(z)) for z in self.size]
        return (sizes[0] if len(set(sizes)) == 1 else by_x(sizes)) + ("" if self.aligned else "~")


@dataclass(frozen=True, slots=True)
class UnknownReceptiveField:
    """A receptive field that cannot be followed from the layer `node` on."""

    node: str

    def as_json(self) -> dict[str, str]:
        return {"unknown": self.node}

    def __str__(self) -> str:
        return "unknown"


def slide_axis(
    field: tuple[Number | None, Number, Number], window: tuple[int, Number, int, int, Number]
) -> tuple[Number | None, Number, Number]:
    """Return the receptive field on one axis after a window.

    `field` is (size, stride, start) before it, `window` is (kernel, stride, before, dilation, shift). With a
    fractional stride the result is the hull over one period of stops, or a bound of it where the period exceeds
    LONGEST_PERIOD.
    """
    (z, jump, first), (k, s, before, d, shift) = field, window
    if isinstance(z, int) and isinstance(jump, int) and isinstance(first, int) and isinstance(s, int) and not shift:
        # The textbook recurrence in plain integers: nearly all layers, without the cost of fractions
        return z + (k - 1) * d * jump, jump * s, first - before * jump
    stride = whole(jump * s)
    period = lcm(s.denominator, stride.denominator)
    if z is None:
        return None, stride, whole(first + (shift - before) * jump)
    if period > LONGEST_PERIOD:
        return whole(z + ceil(jump * ((k - 1) * d + 1))), stride, whole(first + (shift - before - 1) * jump)
    stops = [floor(p * s + shift) - before for p in range(period)]
    firsts = [floor(first + jump * q) for q in stops]
    lasts = [floor(first + jump * (q + (k - 1) * d)) for q in stops]
    below = Fraction(stride.denominator - 1, stride.denominator)  # what floor() takes off at most
    start = min(f + below - p * stride for p, f in enumerate(firsts))
    size = z + max(last - floor(start + p * stride) for p, last in enumerate(lasts))
    return whole(size), stride, whole(start)


def whole(x: Number) -> Number:
    """Return `x` as an int where it is a whole number."""
    return x.numerator if isinstance(x, Fraction) and x.denominator == 1 else x


def _plain(x: Number) -> int | float:
    return x if isinstance(x, int) else x.numerator if x.denominator == 1 else float(x)
