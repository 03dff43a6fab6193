"""The arithmetic behind a figure, as a textbook writes it: `(224 + 3 + 3 - 7) / 2 + 1 = 112.5, rounded down: 112`."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, prod
from typing import TYPE_CHECKING, Any, Literal

from ..shapes import Number, Shape, Window

if TYPE_CHECKING:
    from .base import Plan

Figure = Literal["output", "parameters", "buffers", "multiply-adds", "memory", "receptive field"]

AXES: Mapping[int, tuple[str, ...]] = {
    1: ("features",),
    2: ("channels", "length"),
    3: ("channels", "height", "width"),
    4: ("channels", "depth", "height", "width"),
}
MOST_TERMS = 12
"""Number of terms that a sum is written out with; a network may concatenate a thousand branches."""

_WORD = re.compile(r"[A-Za-z_]+(?![A-Za-z_(])")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3})")
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"floor": floor, "ceil": ceil, "min": min, "max": max}


@dataclass(frozen=True)
class Line:
    """One line of a derivation: `numbers` is `formula` with the layer's numbers filled in, and `value` its result.

    Attributes:
        what: name of the figure, such as "weight".
        formula: formula with names.
        numbers: formula with numbers; digits may be grouped and units named: `9,408 weights * 112 * 112 positions`.
        value: result; None for a line that is a sentence only, in `note`.
        note: sentence beside the figure.
        part: quantity that the line belongs to.
        axes: axes of the output that the figure is the length of; 0 is the channels.
    """

    what: str = ""
    formula: str = ""
    numbers: str = ""
    value: Number | None = None
    note: str = ""
    part: Figure = "output"
    axes: tuple[int, ...] = ()

    @property
    def expression(self) -> str:
        """`numbers` as plain arithmetic, without units and grouped digits."""
        return " ".join(_WORD.sub("", _GROUPED.sub("", self.numbers)).split())

    @property
    def holds(self) -> bool:
        """Whether the equation is true."""
        return not self.numbers or evaluated(self.expression) == self.value


def line(
    formula: str,
    names: Mapping[str, Any],
    *,
    axes: int | tuple[int, ...] = (),
    what: str = "",
    part: Figure = "output",
    note: str = "",
) -> Line:
    """Return the line of a formula.

    Arguments:
        formula: arithmetic with names.
        names: value of each name; a list gives one value to each occurrence, from left to right.
        axes, what, part, note: attributes of the line.
    """
    made = Line(what, formula, filled(formula, names), None, note, part, (axes,) if isinstance(axes, int) else axes)
    value = evaluated(made.expression)
    return replace(made, value=value.numerator if value.denominator == 1 else value)


def filled(formula: str, names: Mapping[str, Any]) -> str:
    """Replace the names of a formula by numbers; names that are not in `names` stay, as units."""
    turns = {name: iter(value) for name, value in names.items() if isinstance(value, Sequence)}

    def number(found: re.Match[str]) -> str:
        name = found[0]
        return figure(next(turns[name]) if name in turns else names[name]) if name in names else name

    return _WORD.sub(number, formula)


def figure(value: Number) -> str:
    """Format a number: `3,136`, `1/2`."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def evaluated(expression: str) -> Fraction:
    """Return the exact value of plain arithmetic as a fraction. ValueError for anything else.

    The evaluator of spec expressions does not serve here: it rounds as Python does, and bounds its numbers.
    """
    return Fraction(_value(ast.parse(expression, mode="eval").body))


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value) if type(value) is int:
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=args) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(_value, args))
    raise ValueError(f"`{ast.unparse(node)}` is not plain arithmetic")


# --- what layers have in common -------------------------------------------------------------------------------------


def axis_names(rank: int) -> tuple[str, ...]:
    """Return the names of the axes of a shape with `rank` axes."""
    return AXES.get(rank) or ("channels", *(f"axis {k}" for k in range(1, rank)))


def unchanged(x: Shape, axes: Iterable[int], moved: int = 0) -> list[Line]:
    """Return a line for each of `axes` of the input that keeps its length; it is axis `k + moved` of the output."""
    return [Line("", "", figure(x[k]), x[k], "as it comes in", axes=(k + moved,)) for k in axes]


def sliding(window: Window, size: Sequence[int]) -> list[Line]:
    """Return the lines of the number of window positions on each axis."""
    return [_stops(window, axis, n) for axis, n in enumerate(size)]


def _stops(window: Window, axis: int, size: int) -> Line:
    before, after, stride = window.before[axis], window.after[axis], window.stride[axis]
    names = {"size": size, "before": abs(before), "after": abs(after), "stride": stride}
    names |= {"kernel": window.kernel[axis], "dilation": window.dilation[axis]}
    padded = (
        f"size {'-' if before < 0 else '+'} before {'-' if after < 0 else '+'} after" if before or after else "size"
    )
    if window.kernel[axis] == stride == 1:
        return line(padded, names, axes=axis + 1)
    taps = "kernel" if window.dilation[axis] == 1 else "dilation * (kernel - 1) - 1"
    formula = f"{'ceil' if window.ceil_mode else 'floor'}(({padded} - {taps}) / stride + 1)"
    made = line(formula, names, axes=axis + 1)
    if window.ceil_mode and made.value is not None and (made.value - 1) * stride >= size + before:
        note = "The last window would begin behind the input: it is left out, as torch does."
        made = line(f"{formula} - 1", names, axes=axis + 1, note=note)
    return made


def summed(values: Sequence[int]) -> str:
    """Write a sum: `64 + 32 + 32`; the last terms of a long one are added up."""
    if len(values) <= MOST_TERMS:
        return " + ".join(map(figure, values))
    return " + ".join([*map(figure, values[:MOST_TERMS]), f"{sum(values[MOST_TERMS:]):,} of the others"])


def default_lines(plan: Plan, xs: Sequence[Shape]) -> list[Line]:
    """Return the lines of the output's axes that follow from the plan alone."""
    x, shape, window = xs[0], plan.shape, plan.window
    if len(xs) == 1 and isinstance(window, Window) and all(isinstance(s, int) and s for s in window.stride):
        slid = sliding(window, x.size)
        fits = [made.value for made in slid] == list(shape.size)
        return unchanged(x, [0] if x.channels == shape.channels else []) + (slid if fits else [])
    if all(other == shape for other in xs):
        every = "All inputs have this shape, and so has what goes out." if len(xs) > 1 else "The shape stays."
        return [Line(note=every, axes=tuple(range(len(shape))))]
    if window == "pointwise" and len(xs) > 1 and all(len(other) == len(shape) for other in xs):
        return _broadcast_lines(xs)
    if window == "global" and set(shape[1:]) <= {1} and len(x) > 1 and shape.channels == x.channels:
        ones = [Line("", "", "1", 1, "one for all positions", axes=(k,)) for k in range(1, len(shape))]
        return [line("channels", {"channels": x.channels}, axes=0), *ones]
    return []


def _broadcast_lines(xs: Sequence[Shape]) -> list[Line]:
    """Return the lines of inputs whose axes of length 1 broadcast."""
    lines = []
    for k, lengths in enumerate(zip(*xs, strict=True)):
        numbers = f"max({', '.join(map(figure, lengths))})"
        larger = Line("", "the larger: a 1 stretches", numbers, max(lengths), axes=(k,))
        lines += unchanged(xs[0], [k]) if len(set(lengths)) == 1 else [larger]
    return lines


def of_weights(plan: Plan) -> list[Line]:
    """Return a line for each learned tensor: the product of its axes, in torch's order."""
    scales = plan.weights.get("weight") == plan.weights.get("bias")
    notes = {"weight": "the scale", "bias": "the shift"} if scales else {}
    return [
        Line(name, "", product(axes) or "1", prod(axes), notes.get(name, ""), "parameters")
        for name, axes in plan.weights.items()
    ]


def of_macs(plan: Plan, xs: Sequence[Shape]) -> Line | None:
    """Return the line of the MACs where they are weights times positions; None where they are not."""
    weights = sum(prod(axes) for axes in plan.weights.values() if len(axes) > 1)
    x = xs[0]
    for places, called in (
        (plan.shape.size, "positions"),
        (x.size, "positions of the input"),
        (x[:-1], "places"),
        ((), ""),
    ):
        if plan.macs and weights * prod(places) == plan.macs:
            if not places:
                return Line("", "", f"{weights:,}", weights, "one for each weight", "multiply-adds")
            numbers = f"{weights:,} weights * {product(places)} {called}"
            return Line("", f"weights * {called}", numbers, plan.macs, part="multiply-adds")
    return None


def product(axes: Sequence[int]) -> str:
    """Write a product: `64 * 112 * 112`."""
    return " * ".join(map(figure, axes))
