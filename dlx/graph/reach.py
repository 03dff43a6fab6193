"""How receptive fields travel along the graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..layers import Plan
from ..layers.base import Kept
from ..shapes import Reach, Shape, Window
from .graph import Seen, Wire


def of_input(shape: Shape) -> Seen:
    """Each position of the input sees itself; a vector has no positions."""
    return Reach.of_input(len(shape) - 1) if len(shape) > 1 else None


def through(wires: Sequence[Wire], plan: Plan) -> tuple[Seen, bool, bool]:
    """What a layer's output sees, whether it still has positions, and whether it is still the raw input."""
    came = arriving(wires, plan)
    wires = [wire for wire, _ in came]
    seen = joined([told for _, told in came], plan.shape.size)
    raw = all(wire.raw for wire in wires)
    positions = len(plan.shape) > 1 and (raw or any(wire.positions for wire in wires))
    window = plan.window
    if seen == "nothing" or window == "nothing":
        return "nothing", False, False
    if window == "pointwise":
        return seen, positions, raw and plan.view
    if window == "global":
        return "global", positions and prod(plan.shape.size) > 1, False
    if window == "flat":
        return _reshaped(seen, raw, plan.shape), positions, raw
    return (_slid(seen, window) if isinstance(seen, Reach) else seen), positions, False


def _slid(seen: Reach, window: Window | Kept | tuple[int, ...]) -> Seen:
    """What is seen through a window, on the axes that are kept, or after axes of which everything is seen."""
    if isinstance(window, Kept):
        return seen.on(window.axes) if window.axes else None
    seen = seen.through(window) if isinstance(window, Window) else seen.everything(window)
    return "global" if seen.is_global else seen


def arriving(wires: Sequence[Wire], plan: Plan) -> list[tuple[Wire, Seen]]:
    """The inputs that a layer looks at, each with what it sees from where it meets the others."""
    looked = [wire for i, wire in enumerate(wires) if i not in plan.blind]
    if len(looked) == 1:
        return [(looked[0], looked[0].reach)]
    crops = plan.crops or ((),) * len(looked)
    return [(wire, _arriving(wire, crop, plan.shape)) for wire, crop in zip(looked, crops, strict=True)]


def _reshaped(seen: Seen, raw: bool, shape: Shape) -> Seen:
    """New axes: those of the raw input stand for themselves; other mixtures have no one answer, or a global one."""
    if raw:
        return of_input(shape)
    return "global" if seen == "global" else None


def _arriving(wire: Wire, crop: tuple[int, ...], out: Shape) -> Seen:
    """What an input sees from where it meets the others: after it is cropped, or stretched from a single position."""
    seen, shape = wire.reach, wire.shape
    if not isinstance(seen, Reach) or shape is None or len(seen.size) != len(shape.size):
        return seen
    if crop:
        seen = seen.shifted(crop)
    stretched = [i for i, (n, m) in enumerate(zip(shape.size, out.size, strict=False)) if n == 1 < m]
    if stretched:
        seen = seen.everything(stretched)
    return "global" if seen.is_global else seen


def joined(reaches: Sequence[Seen], stops: Sequence[int]) -> Seen:
    """What a merge with `stops` positions sees: everything if one branch does; who sees nothing adds nothing."""
    told = [seen for seen in reaches if seen != "nothing"]
    if not told:
        return "nothing"
    first, *rest = told
    for other in rest:
        if first == "global" or other == "global":
            first = "global"
        elif isinstance(first, Reach) and isinstance(other, Reach):
            first = first.join(other, stops)
        else:
            first = None
    return first
