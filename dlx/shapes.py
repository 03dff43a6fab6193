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
Padding = Extent | Literal["same", "valid"]

BYTES: Final = {"float": 4, "int": 8, "bool": 1}  # of one value, as torch stores it by default
LONGEST_PERIOD: Final = 256  # of a fractional stride; beyond it the hull is a position wider than it need be


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
        """Positions on each axis after the first; empty for a vector."""
        return tuple(self[1:])

    @property
    def rank(self) -> int:
        """How many axes: 1 for a vector, 2 for a signal, 3 for an image, 4 for a volume."""
        return len(self)

    @property
    def count(self) -> int:  # type: ignore[override]  # tuple's, how often a value occurs, says nothing of a shape
        """Values in one sample."""
        return prod(self)

    @property
    def bytes(self) -> int:
        return self.count * BYTES[self.dtype]

    def __repr__(self) -> str:
        return f"({', '.join(map(str, self))}{',' if len(self) == 1 else ''})"

    __str__ = __repr__


def by_x(axes: Sequence[object]) -> str:
    """`40x40`."""
    return "x".join(map(str, axes))


N = TypeVar("N", int, float, int | None)


def bytes_text(count: float) -> str:
    """`512 B`, `1.4 MB`, `16 TB`: decimal units, three figures."""
    power = min(int(log10(max(count, 1)) // 3), len(UNITS) - 1)
    return f"{count / 1000**power:.3g} {UNITS[power]}"


def spread(value: int | Sequence[N], rank: int, what: str) -> tuple[N, ...]:
    """One value for each of `rank` axes: a single number serves all of them."""
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
    """A window that slides over positions, one entry an axis.

    `before` and `after` are padded positions (below 0: cut off), `stride` the input positions between two stops: stop
    p begins at input position `floor(p*stride + shift) - before`. A fractional stride is an upsampling, or a pooling
    whose windows do not divide the input evenly.
    """

    kernel: tuple[int, ...]
    stride: tuple[Number, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False
    shift: tuple[Number, ...] = ()
    """Nowhere, where it is empty."""

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
        """A window for `rank` axes of positions, in torch's terms."""
        kernels, strides = spread(kernel, rank, "kernel_size"), spread(stride, rank, "stride")
        dilations = spread(dilation, rank, "dilation")
        if padding == "same":
            total = [d * (k - 1) for k, d in zip(kernels, dilations, strict=True)]
            before: tuple[int, ...] = tuple(t // 2 for t in total)
            after: tuple[int, ...] = tuple(t - t // 2 for t in total)
        elif isinstance(padding, str):
            before = after = (0,) * rank
        else:
            before = after = spread(padding, rank, "padding")
        return cls(kernels, strides, before, after, dilations, ceil_mode)

    @property
    def extent(self) -> tuple[int, ...]:
        """Input positions from the first tap to the last, both counted."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def transposed(self) -> Window:
        """Which stops of this window stand on a position: what a transposed convolution or an unpooling sees.

        Between two strides they may be fewer by one, and with a dilation some are left out: this is their hull.
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
        """Stops on each axis of an input of `size`; ShapeError where the window does not fit."""
        stops = []
        for n, extent, s, before, after in zip(size, self.extent, self.stride, self.before, self.after, strict=True):
            room = n + before + after - extent
            if self.ceil_mode:
                stop = ceil(Fraction(room) / s) + 1
                stop -= (stop - 1) * s >= n + before  # torch: the last window must start inside
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

    def unseen(self, size: Sequence[int]) -> tuple[int, ...]:
        """Positions at the end of each axis that no stop reaches, where the window otherwise sees every position."""
        return tuple(
            0 if s > extent else max(0, int(n + before - ((stops - 1) * s + extent)))
            for n, extent, s, before, stops in zip(
                size, self.extent, self.stride, self.before, self.slide(size), strict=True
            )
        )

    def _padded(self, size: Sequence[int]) -> list[int]:
        return [n + b + a for n, b, a in zip(size, self.before, self.after, strict=True)]


@dataclass(frozen=True, slots=True)
class Reach:
    """A receptive field, one entry for each axis of positions of an input; a size of None: everything along it.

    Position p sees the input positions `floor(start + p*stride)` to that plus `size - 1`, cut to the input; where the
    stride is fractional the positions of one period differ, and this is their hull. A stride of 0 is an axis along
    which every value sees the same. `aligned` is False after a merge of branches whose strides or centres differ.
    """

    size: tuple[Number | None, ...]
    stride: tuple[Number, ...]
    start: tuple[Number, ...]
    aligned: bool = True

    @property
    def is_global(self) -> bool:
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
class Unknown:
    """A receptive field that cannot be followed from `node` on."""

    node: str

    def as_json(self) -> dict[str, str]:
        return {"unknown": self.node}

    def __str__(self) -> str:
        return "unknown"


def slid(
    seen: tuple[Number | None, Number, Number], window: tuple[int, Number, int, int, Number]
) -> tuple[Number | None, Number, Number]:
    """Size, stride and start on one axis under a window of (kernel, stride, before, dilation, shift).

    Where a stride is fractional it is the hull over one period of stops, or of any stop where that is long.
    """
    (z, jump, first), (k, s, before, d, shift) = seen, window
    if isinstance(z, int) and isinstance(jump, int) and isinstance(first, int) and isinstance(s, int) and not shift:
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
    """A fraction that is a whole number, as one."""
    return x.numerator if isinstance(x, Fraction) and x.denominator == 1 else x


def _plain(x: Number) -> int | float:
    return x if isinstance(x, int) else x.numerator if x.denominator == 1 else float(x)
