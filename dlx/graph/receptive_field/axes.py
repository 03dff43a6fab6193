"""Receptive fields along one axis of an input, through any order of a value's own axes. No torch.

Along one axis of an input, the entry at the coordinates c of a value sees `size` positions from
`floor(start + the sum of stride * c)` on. Each axis of the value is a row of factors, outer to inner, as (length,
stride): a map of 4x6 laid flat has one axis of two factors, and a reshape that cuts between factors keeps them apart.
Behind a merge there are several such windows, one a branch, as long as none holds the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import zip_longest
from math import ceil, floor, prod

from ...shapes import Number, Window, slide_axis, whole
from .factors import Factors, dealt, merged, moving, offset_at, outer_stride, with_axis, without

MOST_PARTS = 4
"""Windows of one span; more become their hull."""


@dataclass(frozen=True, slots=True)
class Part:
    """A window along one axis of an input; a `size` of None is all of it.

    `steps` has one entry an axis of the value. Where everything is seen they only say which axis a position is still
    on.
    """

    size: Number | None
    start: Number
    steps: tuple[Factors, ...]

    @property
    def moves(self) -> bool:
        """Whether entries of the value stand for different positions."""
        return any(stride for factors in self.steps for _, stride in factors)

    @property
    def stride(self) -> Number:
        """Positions of the input between two neighbours, or between two blocks that see different ones."""
        return max((stride for factors in self.steps for _, stride in factors), default=0)

    def at(self, place: Sequence[int]) -> tuple[int, int]:
        """The first and the last position that the entry at `place` sees, of a window of some size."""
        first = floor(self.start + sum(offset_at(f, i) for f, i in zip(self.steps, place, strict=True)))
        return first, first + int(self.size or 0) - 1

    # --- axes that go, come or change places ---

    def on_axes(self, axes: Sequence[int | None], picked: Mapping[int, int], positions: int) -> Part:
        """On the given axes alone (None: a new one); of the others one entry is picked, or all are mixed."""
        start = whole(self.start + sum(offset_at(self.steps[axis], at) for axis, at in picked.items()))
        one = replace(self, start=start, steps=without(self.steps, picked))
        mixed = one.mixed([k for k in range(len(self.steps)) if k not in axes and k not in picked], positions)
        return replace(mixed, steps=tuple(() if k is None else mixed.steps[k] for k in axes))

    def mixed(self, axes: Iterable[int], positions: int) -> Part:
        """After each value along `axes` has seen all of them; `positions` is the length of the axis of the input."""
        factors = [factor for axis in axes for factor in self.steps[axis]]
        if not factors:
            return self
        steps = without(self.steps, axes)
        if self.size is None or not any(stride for _, stride in factors):
            return replace(self, steps=steps)
        extent, left = sum((n - 1) * stride for n, stride in factors), replace(self, steps=steps)
        if left.moves:
            return replace(left, size=whole(self.size + ceil(extent)))
        first = floor(self.start)
        size = floor(self.start + extent) - first + self.size
        skipped = max(stride for _, stride in factors)  # what a stride leaves at the ends is not cut off
        everything = first < max(skipped, 1) and positions - (first + size) < max(skipped, 1)
        return replace(left, size=None if everything else whole(size), start=first)

    def everywhere(self, axes: Iterable[int], positions: int) -> Part:
        """After each value along `axes` has seen all of them and still stands in its place."""
        mixed = self.mixed(axes, positions)
        return mixed if mixed.size is not None else replace(mixed, steps=self.steps)

    def reshaped(self, old: Sequence[int], new: Sequence[int]) -> Part | None:
        """This window after a reshape from sizes `old` to `new`; None where a new axis ends within a factor."""
        row = merged(f for n, factors in zip(old, self.steps, strict=True) for f in factors or ((n, 0),))
        steps = dealt(row, new)
        if steps is None:
            return replace(self, steps=((),) * len(new)) if self.size is None else None
        return replace(self, steps=steps)

    def broadcast(self, old: Sequence[int], new: Sequence[int], positions: int) -> Part:
        """On an axis of a single entry, wherever it is stretched to."""
        axes = [k for k, (n, m) in enumerate(zip(old, new, strict=True)) if n == 1 < m]
        one = replace(self, steps=without(self.steps, axes)) if axes else self
        return replace(one, size=None) if axes and one.is_all_of(positions) else one

    def is_all_of(self, positions: int) -> bool:
        """Whether the window stands still and holds a whole axis of the input."""
        return self.size is not None and not self.moves and self.start <= 0 and self.start + self.size >= positions

    # --- windows ---

    def slid(self, axis: int, window: Window, k: int, stops: int) -> Part:
        """Under axis `k` of a window that slides along `axis` of the value, and stops so often."""
        factors = self.steps[axis]
        step = (window.kernel[k], window.stride[k], window.before[k], window.dilation[k])
        shift = window.shift[k] if window.shift else 0
        if not factors or (step[:3] == (1, 1, 0) and not shift and prod(n for n, _ in factors) == stops):
            return self
        one = self.on_one_factor(axis)
        if not one.steps[axis]:
            return one
        ((_, jump),) = one.steps[axis]
        size, jump, start = slide_axis((one.size, jump, one.start), (*step, shift))
        if size is not None and any(isinstance(s, Fraction) for f in without(one.steps, [axis]) for _, s in f):
            size, start = size + 2, start - 1  # fractions along two axes may add up to another whole position
        return Part(size, start, with_axis(one.steps, axis, ((stops, jump),)))

    def cut(self, axis: int, start: int, step: int, left: int) -> Part:
        """Every `step`-th of the entries from `start` on along an axis, `left` of them."""
        one = self.on_one_factor(axis)
        if not one.steps[axis]:
            return one
        ((_, jump),) = one.steps[axis]
        return replace(
            one,
            start=whole(one.start + start * jump),
            steps=with_axis(one.steps, axis, ((left, whole(step * jump)),)),
        )

    def on_one_factor(self, axis: int) -> Part:
        """An axis of several factors as one: the hull of what its entries see, at one stride."""
        factors = self.steps[axis]
        if len(factors) < 2:
            return self
        length = prod(n for n, _ in factors)
        inner = [prod(n for n, _ in factors[k + 1 :]) for k in range(len(factors))]
        best: tuple[Number, Number, Fraction] | None = None  # how much wider, how much earlier, the stride
        for jump in dict.fromkeys(Fraction(stride) / m for (_, stride), m in zip(factors, inner, strict=True)):
            lags = [(n - 1) * (stride - jump * m) for (n, stride), m in zip(factors, inner, strict=True)]
            low: Number = sum(lag for lag in lags if lag < 0)
            high: Number = sum(lag for lag in lags if lag > 0)
            if best is None or high - low < best[0]:
                best = (high - low, low, jump)
        assert best is not None
        wider, low, jump = best
        steps = with_axis(self.steps, axis, ((length, whole(jump)),) if jump else ())
        size = None if self.size is None else whole(self.size + ceil(wider))
        return replace(self, size=size, start=whole(self.start + low), steps=steps)


@dataclass(frozen=True, slots=True)
class Span:
    """The receptive field along one axis of an input: the windows of all branches together.

    `aligned` is False behind a merge of windows whose strides or centres differ.
    """

    parts: tuple[Part, ...]
    aligned: bool = True

    @property
    def moves(self) -> bool:
        """Whether entries of the value stand for different positions."""
        return any(part.moves for part in self.parts)

    def hull(self, positions: int) -> Part:
        """One window that holds all of them; everything, where it holds the whole axis of the input in its place."""
        one = _hull([(part, {}) for part in self.parts]) if len(self.parts) > 1 else self.parts[0]
        return replace(one, size=None) if one.is_all_of(positions) else one

    def at(self, place: Sequence[int]) -> tuple[int, int] | None:
        """The first and the last position that the entry at `place` sees; None for everything."""
        ends = [part.at(place) for part in self.parts if part.size is not None]
        return (min(a for a, _ in ends), max(b for _, b in ends)) if len(ends) == len(self.parts) else None

    def each(self, made: Callable[[Part], Part | None]) -> Span | None:
        """Each window made into another; None where one cannot be."""
        parts = [made(part) for part in self.parts]
        if len(parts) == 1 and parts[0] is self.parts[0]:
            return self
        known = [part for part in parts if part is not None]
        return Span(_fewest(known), self.aligned) if len(known) == len(parts) else None


def of_input(shape: Sequence[int]) -> tuple[Span, ...]:
    """Each value of an input sees itself: a span for each of its axes."""
    steps = [tuple(((n, 1),) if k == axis else () for k in range(len(shape))) for axis, n in enumerate(shape)]
    return tuple(Span((Part(1, 0, each),)) for each in steps)


# --- merges ---------------------------------------------------------------------------------------------------------


def joined(spans: Sequence[Span], are_branches: bool = True) -> Span:
    """The union of receptive fields at a merge. Ways through one layer are no branches: alignment is not judged."""
    first, *rest = spans
    if all(span == first for span in rest):
        return first
    parts = _fewest([part for span in spans for part in span.parts])
    aligned = all(span.aligned for span in spans) and not (are_branches and _apart(spans))
    return Span(parts, aligned)


def end_to_end(pieces: Sequence[tuple[Span, int, int]], axis: int, length: int) -> Span:
    """The receptive field of values concatenated along `axis` to `length` entries; pieces: span, offset, length."""
    moved: list[tuple[Part, dict[int, tuple[int, int]]]] = []
    for span, offset, own in pieces:
        for piece in span.parts:
            part = piece.on_one_factor(axis)
            jump = outer_stride(part.steps[axis])
            steps = with_axis(part.steps, axis, ((length, jump),) if part.steps[axis] else ())
            moved.append((replace(part, start=whole(part.start - offset * jump), steps=steps), {axis: (offset, own)}))
    aligned = all(span.aligned for span, *_ in pieces)
    parts = list(dict.fromkeys(part for part, _ in moved))
    if len(parts) == 1:
        return Span((parts[0],), aligned)
    if len({moving(part.steps) for part in parts}) == 1:
        return Span(_fewest(parts), aligned and not _apart([Span((part,)) for part in parts]))
    return Span((_hull(moved),), aligned and any(part.size is None for part in parts))


def _apart(spans: Sequence[Span]) -> bool:
    """Whether the windows of several branches have other strides or centres; not where one sees everything."""
    hulls = [span.parts[0] if len(span.parts) == 1 else _hull([(part, {}) for part in span.parts]) for span in spans]
    if any(one.size is None for one in hulls) or any(all(_is_block(one, o) for o in hulls) for one in hulls):
        return False
    return len({(moving(one.steps), 2 * one.start + (one.size or 0)) for one in hulls}) > 1


def _is_block(block: Part, part: Part) -> bool:
    """Whether one window stands still along some axes, moves with another along the rest, and always holds it."""
    if block is part:
        return True
    mine, other = _alike([block, part])
    factors = [
        pair for axis in zip(mine.steps, other.steps, strict=True) for pair in zip_longest(*axis, fillvalue=(1, 0))
    ]
    if all(s == t for (_, s), (_, t) in factors) or any(s and s != t for (_, s), (_, t) in factors):
        return False
    low, high = _range(other, mine.steps, {})
    return mine.start <= low and high <= mine.start + (mine.size or 0)


def _fewest(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The windows without those that lie in another; one, where it is everything; their hull, where they are many."""
    if len(parts) == 1:
        return (parts[0],)
    parts = list(dict.fromkeys(parts))
    if len(parts) == 1:
        return tuple(parts)
    if any(part.size is None for part in parts):
        return (_hull([(part, {}) for part in parts]),)
    left = [
        part for i, part in enumerate(parts) if not any(_holds(o, part, i < j) for j, o in enumerate(parts) if i != j)
    ]
    return tuple(left) if len(left) <= MOST_PARTS else (_hull([(part, {}) for part in left]),)


def _holds(other: Part, part: Part, first: bool) -> bool:
    """Whether a window lies in another one at every entry, and both move along the same axes."""
    mine, theirs = moving(part.steps), moving(other.steps)
    if mine == theirs:
        inside = other.start <= part.start and part.start + (part.size or 0) <= other.start + (other.size or 0)
        same = (other.start, other.size) == (part.start, part.size)
        return inside and not (same and first)
    return False


def _hull(parts: Sequence[tuple[Part, Mapping[int, tuple[int, int]]]]) -> Part:
    """The smallest of the hulls of several windows; one with a place in the mapping has only those entries of it.

    A place is an axis and the first of its entries, and how many they are.
    """
    ones = [part for part, _ in parts]
    if any(part.size is None for part in ones):
        steps = max((part.steps for part in ones), key=lambda each: sum(bool(s) for f in each for _, s in f))
        return Part(None, min(part.start for part in ones), steps)
    alike = _alike(ones)
    places = [where for _, where in parts]
    best: Part | None = None
    for candidate in _strides(alike):
        ranges = [_range(part, candidate, where) for part, where in zip(alike, places, strict=True)]
        low = min(first for first, _ in ranges)
        size = ceil(max(last for _, last in ranges) - low)
        if best is None or (best.size is not None and size < best.size):
            best = Part(size, whole(low), candidate)
    assert best is not None
    return best


def _strides(parts: Sequence[Part]) -> list[tuple[Factors, ...]]:
    """Strides that the hull may have: on each factor the largest of all, or those of one window."""
    largest = tuple(
        tuple((n, max(stride for _, stride in each)) for n, each in _columns(factors))
        for factors in zip(*(part.steps for part in parts), strict=True)
    )
    own = sorted({part.steps for part in parts if part.moves}, reverse=True)
    return list(dict.fromkeys((largest, *own)))


def _columns(factors: Sequence[Factors]) -> Iterator[tuple[int, list[tuple[int, Number]]]]:
    """The factors of one axis of all branches, side by side, with their common length."""
    for each in zip_longest(*factors, fillvalue=(1, 0)):
        longest = max(n for n, _ in each)
        yield longest, list(each)


def _range(part: Part, strides: tuple[Factors, ...], where: Mapping[int, tuple[int, int]]) -> tuple[Number, Number]:
    """The lowest start and the highest end of a window beside one that moves by `strides`."""
    assert part.size is not None
    low = high = part.start
    for axis, (own, other) in enumerate(zip(part.steps, strides, strict=True)):
        for (n, stride), (m, jump) in zip_longest(own, other, fillvalue=(1, 0)):
            begin, count = where.get(axis, (0, max(n, m)))
            ends = ((stride - jump) * begin, (stride - jump) * (begin + count - 1))
            low, high = low + min(ends), high + max(ends)
    return low, high + part.size


def _alike(parts: Sequence[Part]) -> list[Part]:
    """The parts with the same factors on each axis: cut where any of them is, or the hull on one factor."""
    same = list(parts)
    for axis in range(len(parts[0].steps)):
        rows = [part.steps[axis] for part in same if part.steps[axis]]
        lengths = {tuple(n for n, _ in row) for row in rows}
        if len(lengths) < 2:
            continue
        finest = max(lengths, key=len)
        cut = [dealt(list(row), finest) for row in rows]
        if all(row is not None and all(len(f) < 2 for f in row) for row in cut):
            same = [_refined(part, axis, finest) for part in same]
        else:
            same = [part.on_one_factor(axis) for part in same]
    return same


def _refined(part: Part, axis: int, lengths: Sequence[int]) -> Part:
    if not part.steps[axis]:
        return part
    cut = dealt(list(part.steps[axis]), lengths, bare=False)
    assert cut is not None
    flat = tuple(f[0] if f else (n, 0) for n, f in zip(lengths, cut, strict=True))
    return replace(part, steps=with_axis(part.steps, axis, flat))
