"""Checks of the plans that layers of plugins return, before the graph computes with them."""

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

WINDOW_TYPES = Window | AxisMap | AxisSlice | AxisConcat | InputPaths
WINDOW_WORDS = ("pointwise", "global", "flat", "nothing")
"""Words that `Plan.window` may be."""


def check_plan(layer: Layer, plan: Any, xs: Sequence[Shape]) -> Plan:
    """Check the value that `layer.plan(*xs)` returned, and return it as a plan with shapes of dlx.

    Errors: ShapeError where it is no valid plan.
    """
    if not isinstance(plan, Plan):
        _refuse(layer, f"is {shown(plan)}, and no `Plan`", "Return `Plan(shape)` from `plan`.")
    dtype = getattr(plan.shape, "dtype", "float")
    if not _is_shape(plan.shape) or 0 in plan.shape or not plan.shape or dtype not in BYTES:
        hint = "A shape is a tuple of whole numbers from 1, channels first, without the batch."
        _refuse(layer, f"gives the shape {shown(plan.shape)}", hint)
    for name in ("weights", "buffers"):
        tensors = getattr(plan, name)
        if not isinstance(tensors, Mapping) or not all(map(_is_shape, tensors.values())):
            _refuse(
                layer, f"gives the {name} {shown(tensors)}", f'Write `{name}={{"weight": (8, 3)}}`: a shape by name.'
            )
    if type(plan.macs) is not int or plan.macs < 0:
        _refuse(layer, f"gives {shown(plan.macs)} MACs", "They are a whole number from 0, of one sample.")
    window = plan.window
    numbers = isinstance(window, tuple) and all(type(axis) is int for axis in window)
    if not (window in WINDOW_WORDS if isinstance(window, str) else numbers or isinstance(window, WINDOW_TYPES)):
        hint = f"It is a `Window`, or {', '.join(WINDOW_WORDS[:-1])} or {WINDOW_WORDS[-1]}."
        _refuse(layer, f"gives the window {shown(window)}", hint)
    if isinstance(window, Window) and len(plan.shape) != len(window.kernel) + 1:
        axes = len(window.kernel)
        _refuse(
            layer, f"has a window on {axes} axes, and the shape {plan.shape}", "Its axes are those after the first."
        )
    window = "global" if window == "pointwise" and not _may_be_pointwise(plan, xs[0]) else window
    return replace(plan, shape=Shape(plan.shape, dtype), window=window, warnings=tuple(map(str, plan.warnings)))


def _may_be_pointwise(plan: Plan, x: Shape) -> bool:
    """Whether each value may depend on its own position alone, which is the default of `Plan.window`.

    It cannot with the weights of a kernel, with a matrix on a vector, or with another number of positions.
    """
    kernel = any(prod(shape[2:]) > 1 for shape in plan.weights.values())
    mixes = len(x) == 1 and (tuple(plan.shape) != tuple(x) or any(len(shape) > 1 for shape in plan.weights.values()))
    return tuple(plan.shape[1:]) == tuple(x[1:]) and not kernel and not mixes


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(type(axis) is int and axis >= 0 for axis in value)


def _refuse(layer: Layer, what: str, hint: str) -> NoReturn:
    raise ShapeError(f"the plan of {called(layer)} {what}", hint=hint)
