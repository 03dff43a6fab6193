"""Receptive fields along one axis of an input, through any order of a value's own axes. No torch.

Along one axis of an input, the entry at the coordinates c of a value depends on `size` positions from
`floor(start + the sum of stride * c)` on. Each axis of the value is a list of factors, outer to inner, as (length,
stride): a map of 4x6 laid flat has one axis of two factors, and a reshape that cuts between factors keeps them apart.
Behind a merge there are several such windows, one per branch, as long as none contains the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import zip_longest
from math import ceil, floor, prod

from ...shapes import Number, Window, slide_axis, whole
from .factors import (
    Factors,
    moving_factors,
    offset_at,
    outer_stride,
    replace_axis,
    simplify,
    split_factors,
    without_axes,
)

# The windows of a deep network of branches would grow with each merge; the hull of more than these is what is
# reported anyway
MAX_WINDOWS = 4
"""Windows of one axis that are followed one by one; more are replaced by their hull."""


@dataclass(frozen=True, slots=True)
class AxisWindow:
    """A window along one axis of an input; a `size` of None is the whole axis.

    `steps` has one entry per axis of the value. Where the size is None they only say along which axes entries still
    have a position.
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
        """Input positions between two neighbours, or between two blocks of entries that see different ones."""
        return max((stride for factors in self.steps for _, stride in factors), default=0)

    def at(self, index: Sequence[int]) -> tuple[int, int]:
        """Return the first and the last position that the entry at `index` sees; the size must not be None."""
        first = floor(self.start + sum(offset_at(f, i) for f, i in zip(self.steps, index, strict=True)))
        return first, first + int(self.size or 0) - 1

    # --- axes that are dropped, added or reordered ---

    def select_axes(self, axes: Sequence[int | None], picked: Mapping[int, int], positions: int) -> AxisWindow:
        """Return the window on some axes of the value in a new order; None is a new axis.

        Of the other axes one entry is picked (`picked`: axis to entry), or all are mixed.
        """
        start = whole(self.start + sum(offset_at(self.steps[axis], at) for axis, at in picked.items()))
        one = replace(self, start=start, steps=without_axes(self.steps, picked))
        mixed = one.mix([k for k in range(len(self.steps)) if k not in axes and k not in picked], positions)
        return replace(mixed, steps=tuple(() if k is None else mixed.steps[k] for k in axes))

    def mix(self, axes: Iterable[int], positions: int) -> AxisWindow:
        """Return the window after all entries along `axes` are combined; `positions` is the input axis's length."""
        factors = [factor for axis in axes for factor in self.steps[axis]]
        if not factors:
            return self
        steps = without_axes(self.steps, axes)
        if self.size is None or not any(stride for _, stride in factors):
            return replace(self, steps=steps)
        extent, mixed = sum((n - 1) * stride for n, stride in factors), replace(self, steps=steps)
        if mixed.moves:
            return replace(mixed, size=whole(self.size + ceil(extent)))
        first = floor(self.start)
        size = floor(self.start + extent) - first + self.size
        # A strided layer may leave out up to stride - 1 positions at each end; that still counts as the whole axis
        skipped = max(stride for _, stride in factors)
        everything = first < max(skipped, 1) and positions - (first + size) < max(skipped, 1)
        return replace(mixed, size=None if everything else whole(size), start=first)

    def mix_in_place(self, axes: Iterable[int], positions: int) -> AxisWindow:
        """Return the window after all entries along `axes` are combined into each of them, as in attention."""
        mixed = self.mix(axes, positions)
        return mixed if mixed.size is not None else replace(mixed, steps=self.steps)

    def reshape(self, old: Sequence[int], new: Sequence[int]) -> AxisWindow | None:
        """Return the window after a reshape from `old` to `new`; None where a new axis ends within a factor."""
        flat = simplify(f for n, factors in zip(old, self.steps, strict=True) for f in factors or ((n, 0),))
        steps = split_factors(flat, new)
        if steps is None:
            return replace(self, steps=((),) * len(new)) if self.size is None else None
        return replace(self, steps=steps)

    def broadcast(self, old: Sequence[int], new: Sequence[int], positions: int) -> AxisWindow:
        """Return the window after axes of length 1 are broadcast from shape `old` to `new`."""
        axes = [k for k, (n, m) in enumerate(zip(old, new, strict=True)) if n == 1 < m]
        one = replace(self, steps=without_axes(self.steps, axes)) if axes else self
        return replace(one, size=None) if axes and one.covers(positions) else one

    def covers(self, positions: int) -> bool:
        """Whether the window does not move and contains the whole axis of the input."""
        return self.size is not None and not self.moves and self.start <= 0 and self.start + self.size >= positions

    # --- sliding windows ---

    def slide(self, axis: int, window: Window, k: int, stops: int) -> AxisWindow:
        """Return the window after axis `k` of a layer's window slides along `axis` of the value to `stops` stops."""
        factors = self.steps[axis]
        step = (window.kernel[k], window.stride[k], window.before[k], window.dilation[k])
        shift = window.shift[k] if window.shift else 0
        if not factors or (step[:3] == (1, 1, 0) and not shift and prod(n for n, _ in factors) == stops):
            return self
        one = self.merge_factors(axis)
        if not one.steps[axis]:
            return one
        ((_, jump),) = one.steps[axis]
        size, jump, start = slide_axis((one.size, jump, one.start), (*step, shift))
        if size is not None and any(isinstance(s, Fraction) for f in without_axes(one.steps, [axis]) for _, s in f):
            size, start = size + 2, start - 1  # fractions along two axes may add up to another whole position
        return AxisWindow(size, start, replace_axis(one.steps, axis, ((stops, jump),)))

    def slice(self, axis: int, start: int, step: int, length: int) -> AxisWindow:
        """Return the window after every `step`-th entry from `start` on is taken along an axis, `length` of them."""
        one = self.merge_factors(axis)
        if not one.steps[axis]:
            return one
        ((_, jump),) = one.steps[axis]
        return replace(
            one,
            start=whole(one.start + start * jump),
            steps=replace_axis(one.steps, axis, ((length, whole(step * jump)),)),
        )

    def merge_factors(self, axis: int) -> AxisWindow:
        """Return the hull of the window with a single factor, and so a single stride, along an axis."""
        factors = self.steps[axis]
        if len(factors) < 2:
            return self
        length = prod(n for n, _ in factors)
        inner = [prod(n for n, _ in factors[k + 1 :]) for k in range(len(factors))]
        # Any stride gives a hull. That of one of the factors is tried for each; the narrowest hull is taken
        best: tuple[Number, Number, Fraction] | None = None  # how much wider, how much earlier, the stride
        for jump in dict.fromkeys(Fraction(stride) / m for (_, stride), m in zip(factors, inner, strict=True)):
            lags = [(n - 1) * (stride - jump * m) for (n, stride), m in zip(factors, inner, strict=True)]
            low: Number = sum(lag for lag in lags if lag < 0)
            high: Number = sum(lag for lag in lags if lag > 0)
            if best is None or high - low < best[0]:
                best = (high - low, low, jump)
        assert best is not None
        wider, low, jump = best
        steps = replace_axis(self.steps, axis, ((length, whole(jump)),) if jump else ())
        size = None if self.size is None else whole(self.size + ceil(wider))
        return replace(self, size=size, start=whole(self.start + low), steps=steps)


@dataclass(frozen=True, slots=True)
class AxisField:
    """The receptive field along one axis of an input: the windows of all branches together.

    `aligned` is False behind a merge of windows whose strides or centres differ.
    """

    windows: tuple[AxisWindow, ...]
    aligned: bool = True

    @property
    def moves(self) -> bool:
        """Whether entries of the value stand for different positions."""
        return any(window.moves for window in self.windows)

    def hull(self, positions: int) -> AxisWindow:
        """Return one window that contains all of them; its size is None where it is the whole axis of the input."""
        one = _hull([(window, {}) for window in self.windows]) if len(self.windows) > 1 else self.windows[0]
        return replace(one, size=None) if one.covers(positions) else one

    def at(self, index: Sequence[int]) -> tuple[int, int] | None:
        """Return the first and the last position that the entry at `index` sees; None for the whole axis."""
        ends = [window.at(index) for window in self.windows if window.size is not None]
        return (min(a for a, _ in ends), max(b for _, b in ends)) if len(ends) == len(self.windows) else None

    def map(self, function: Callable[[AxisWindow, int], AxisWindow | None], positions: int) -> AxisField | None:
        """Apply a function to each window on an axis of so many positions; None where it returns None for one."""
        windows = [function(window, positions) for window in self.windows]
        if len(windows) == 1 and windows[0] is self.windows[0]:
            return self  # the very object, by which propagation sees that nothing has changed
        known = [window for window in windows if window is not None]
        return AxisField(_reduced(known), self.aligned) if len(known) == len(windows) else None


def of_input(shape: Sequence[int]) -> tuple[AxisField, ...]:
    """Return the fields of an input's own values, one per axis: each value sees itself."""
    steps = [tuple(((n, 1),) if k == axis else () for k in range(len(shape))) for axis, n in enumerate(shape)]
    return tuple(AxisField((AxisWindow(1, 0, each),)) for each in steps)


# --- merges ---------------------------------------------------------------------------------------------------------


def union(fields: Sequence[AxisField], are_branches: bool = True) -> AxisField:
    """Return the union of receptive fields at a merge.

    The paths through one layer are no branches (`are_branches` False): their alignment is not judged.
    """
    first, *rest = fields
    if all(field == first for field in rest):
        return first
    windows = _reduced([window for field in fields for window in field.windows])
    aligned = all(field.aligned for field in fields) and not (are_branches and _are_misaligned(fields))
    return AxisField(windows, aligned)


def concatenate(pieces: Sequence[tuple[AxisField, int, int]], axis: int, length: int) -> AxisField:
    """Return the field of values concatenated along `axis` to `length` entries; pieces: field, offset, length."""
    moved: list[tuple[AxisWindow, dict[int, tuple[int, int]]]] = []
    for field, offset, own in pieces:
        for piece in field.windows:
            window = piece.merge_factors(axis)
            jump = outer_stride(window.steps[axis])
            steps = replace_axis(window.steps, axis, ((length, jump),) if window.steps[axis] else ())
            shifted = replace(window, start=whole(window.start - offset * jump), steps=steps)
            moved.append((shifted, {axis: (offset, own)}))
    aligned = all(field.aligned for field, *_ in pieces)
    windows = list(dict.fromkeys(window for window, _ in moved))
    if len(windows) == 1:
        return AxisField((windows[0],), aligned)
    if len({moving_factors(window.steps) for window in windows}) == 1:
        return AxisField(_reduced(windows), aligned and not _are_misaligned([AxisField((w,)) for w in windows]))
    return AxisField((_hull(moved),), aligned and any(window.size is None for window in windows))


def _are_misaligned(fields: Sequence[AxisField]) -> bool:
    """Whether the windows of branches differ in stride or centre; never where one of them sees everything."""
    hulls = [
        field.windows[0] if len(field.windows) == 1 else _hull([(window, {}) for window in field.windows])
        for field in fields
    ]
    if len({(moving_factors(one.steps), 2 * one.start + (one.size or 0)) for one in hulls}) == 1:
        return False
    return not (any(one.size is None for one in hulls) or any(all(_encloses(one, o) for o in hulls) for one in hulls))


def _encloses(block: AxisWindow, window: AxisWindow) -> bool:
    """Whether a window stands still along some axes, moves with another along the rest, and always contains it.

    Such branches are aligned, for example the mean of a patch that is added to each position of it.
    """
    if block is window:
        return True
    mine, other = _common_factors([block, window])
    factors = [
        pair for axis in zip(mine.steps, other.steps, strict=True) for pair in zip_longest(*axis, fillvalue=(1, 0))
    ]
    if all(s == t for (_, s), (_, t) in factors) or any(s and s != t for (_, s), (_, t) in factors):
        return False
    low, high = _range(other, mine.steps, {})
    return mine.start <= low and high <= mine.start + (mine.size or 0)


def _reduced(windows: Sequence[AxisWindow]) -> tuple[AxisWindow, ...]:
    """Drop windows that lie in another one; replace them by their hull where one is everything or they are many."""
    if len(windows) == 1:
        return (windows[0],)
    windows = list(dict.fromkeys(windows))
    if len(windows) == 1:
        return tuple(windows)
    if any(window.size is None for window in windows):
        return (_hull([(window, {}) for window in windows]),)
    outer = [
        window
        for i, window in enumerate(windows)
        if not any(_contains(o, window, i < j) for j, o in enumerate(windows) if i != j)
    ]
    return tuple(outer) if len(outer) <= MAX_WINDOWS else (_hull([(window, {}) for window in outer]),)


def _contains(other: AxisWindow, window: AxisWindow, first: bool) -> bool:
    """Whether a window lies in another one at every entry; of two equal ones the `first` does not, so one stays."""
    if moving_factors(window.steps) != moving_factors(other.steps):
        return False
    inside = other.start <= window.start and window.start + (window.size or 0) <= other.start + (other.size or 0)
    return inside and not ((other.start, other.size) == (window.start, window.size) and first)


def _hull(windows: Sequence[tuple[AxisWindow, Mapping[int, tuple[int, int]]]]) -> AxisWindow:
    """Return the narrowest hull of several windows that moves by the strides of one of them, or the largest strides.

    The mapping beside a window restricts it to some entries: axis to (first entry, number of entries).
    """
    ones = [window for window, _ in windows]
    if any(window.size is None for window in ones):
        steps = max((window.steps for window in ones), key=lambda each: sum(bool(s) for f in each for _, s in f))
        return AxisWindow(None, min(window.start for window in ones), steps)
    common = _common_factors(ones)
    entries = [where for _, where in windows]
    best: AxisWindow | None = None
    for candidate in _candidate_strides(common):
        ranges = [_range(window, candidate, where) for window, where in zip(common, entries, strict=True)]
        low = min(first for first, _ in ranges)
        size = ceil(max(last for _, last in ranges) - low)
        if best is None or (best.size is not None and size < best.size):
            best = AxisWindow(size, whole(low), candidate)
    assert best is not None
    return best


def _candidate_strides(windows: Sequence[AxisWindow]) -> list[tuple[Factors, ...]]:
    """Return strides that the hull may have: on each factor the largest of all, or those of one window."""
    largest = tuple(
        tuple((n, max(stride for _, stride in each)) for n, each in _side_by_side(factors))
        for factors in zip(*(window.steps for window in windows), strict=True)
    )
    own = sorted({window.steps for window in windows if window.moves}, reverse=True)
    return list(dict.fromkeys((largest, *own)))


def _side_by_side(factors: Sequence[Factors]) -> Iterator[tuple[int, list[tuple[int, Number]]]]:
    """Yield the factors of one axis of all branches side by side, with their common length."""
    for each in zip_longest(*factors, fillvalue=(1, 0)):
        longest = max(n for n, _ in each)
        yield longest, list(each)


def _range(
    window: AxisWindow, strides: tuple[Factors, ...], entries: Mapping[int, tuple[int, int]]
) -> tuple[Number, Number]:
    """Return the lowest start and the highest end of a window, relative to one that moves by `strides`."""
    assert window.size is not None
    low = high = window.start
    for axis, (own, other) in enumerate(zip(window.steps, strides, strict=True)):
        for (n, stride), (m, jump) in zip_longest(own, other, fillvalue=(1, 0)):
            begin, count = entries.get(axis, (0, max(n, m)))
            ends = ((stride - jump) * begin, (stride - jump) * (begin + count - 1))
            low, high = low + min(ends), high + max(ends)
    return low, high + window.size


def _common_factors(windows: Sequence[AxisWindow]) -> list[AxisWindow]:
    """Return the windows with the same factor lengths on each axis, so that strides can be compared.

    Each axis is split where any of them is split; where that is not possible, it becomes one factor (a hull).
    """
    same = list(windows)
    for axis in range(len(windows[0].steps)):
        rows = [window.steps[axis] for window in same if window.steps[axis]]
        lengths = {tuple(n for n, _ in row) for row in rows}
        if len(lengths) < 2:
            continue
        finest = max(lengths, key=len)
        splits = [split_factors(list(row), finest) for row in rows]
        if all(row is not None and all(len(f) < 2 for f in row) for row in splits):
            same = [_split_axis(window, axis, finest) for window in same]
        else:
            same = [window.merge_factors(axis) for window in same]
    return same


def _split_axis(window: AxisWindow, axis: int, lengths: Sequence[int]) -> AxisWindow:
    if not window.steps[axis]:
        return window
    split = split_factors(list(window.steps[axis]), lengths, drop_constant=False)
    assert split is not None
    flat = tuple(f[0] if f else (n, 0) for n, f in zip(lengths, split, strict=True))
    return replace(window, steps=replace_axis(window.steps, axis, flat))
