"""Plans of layers that are none of dlx's own: what they return is checked before the graph counts with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NoReturn

from ...errors import ShapeError
from ...layers import Layer, Plan
from ...layers.base import AxisConcat, AxisMap, AxisSlice, InputPaths
from ...plugins import called
from ...shapes import BYTES, Shape, Window
from ...spec.validation import shown

WINDOWS = Window | AxisMap | AxisSlice | AxisConcat | InputPaths
SIGHTS = ("pointwise", "global", "flat", "nothing")
"""Words for `Plan.window`."""


def checked(layer: Layer, made: Any, xs: Sequence[Shape]) -> Plan:
    """What `layer.plan(*xs)` returned, as a plan whose shapes are those of dlx. ShapeError where it is none."""
    if not isinstance(made, Plan):
        _refuse(layer, f"is {shown(made)}, and no `Plan`", "Return `Plan(shape)` from `plan`.")
    dtype = getattr(made.shape, "dtype", "float")
    if not _is_shape(made.shape) or 0 in made.shape or not made.shape or dtype not in BYTES:
        hint = "A shape is a tuple of whole numbers from 1, channels first, without the batch."
        _refuse(layer, f"gives the shape {shown(made.shape)}", hint)
    for name in ("weights", "buffers"):
        tensors = getattr(made, name)
        if not isinstance(tensors, Mapping) or not all(map(_is_shape, tensors.values())):
            _refuse(
                layer, f"gives the {name} {shown(tensors)}", f'Write `{name}={{"weight": (8, 3)}}`: a shape by name.'
            )
    if type(made.macs) is not int or made.macs < 0:
        _refuse(layer, f"gives {shown(made.macs)} MACs", "They are a whole number from 0, of one sample.")
    seen = made.window
    numbers = isinstance(seen, tuple) and all(type(axis) is int for axis in seen)
    if not (seen in SIGHTS if isinstance(seen, str) else numbers or isinstance(seen, WINDOWS)):
        hint = f"It is a `Window`, or {', '.join(SIGHTS[:-1])} or {SIGHTS[-1]}."
        _refuse(layer, f"gives the window {shown(seen)}", hint)
    if isinstance(seen, Window) and len(made.shape) != len(seen.kernel) + 1:
        axes = len(seen.kernel)
        _refuse(
            layer, f"has a window on {axes} axes, and the shape {made.shape}", "Its axes are those after the first."
        )
    seen = "global" if seen == "pointwise" and not _may_be_pointwise(made, xs[0]) else seen
    return replace(made, shape=Shape(made.shape, dtype), window=seen, warnings=tuple(map(str, made.warnings)))


def _may_be_pointwise(plan: Plan, x: Shape) -> bool:
    """Whether each value may see its own place alone: `Plan.window` says so where a plan says nothing.

    The weights of a kernel or of a matrix on a vector, and another number of positions, tell that it sees more.
    """
    kernel = any(prod(shape[2:]) > 1 for shape in plan.weights.values())
    mixes = len(x) == 1 and (tuple(plan.shape) != tuple(x) or any(len(shape) > 1 for shape in plan.weights.values()))
    return tuple(plan.shape[1:]) == tuple(x[1:]) and not kernel and not mixes


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(type(axis) is int and axis >= 0 for axis in value)


def _refuse(layer: Layer, what: str, hint: str) -> NoReturn:
    raise ShapeError(f"the plan of {called(layer)} {what}", hint=hint)
