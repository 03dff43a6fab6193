"""How receptive fields travel along the graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..layers import Plan
from ..shapes import Reach, Shape, Window
from .graph import Seen, Wire


def of_input(shape: Shape) -> Seen:
    """Each position of the input sees itself; a vector has no positions."""
    return Reach.of_input(len(shape) - 1) if len(shape) > 1 else None


def through(wires: Sequence[Wire], plan: Plan) -> tuple[Seen, bool, bool]:
    """What a layer's output sees, whether it still has positions, and whether it is still the raw input."""
    crops = plan.crops or ((),) * len(wires)
    merged = zip(wires, crops, strict=True)
    arriving = [_arriving(*each, plan.shape) for each in merged] if len(wires) > 1 else [wires[0].reach]
    seen = joined(arriving, plan.shape.size)
    raw = all(wire.raw for wire in wires)
    positions = any(wire.positions for wire in wires) or (raw and len(plan.shape) > 1)
    window = plan.window
    if window == "pointwise":
        return seen, positions and len(plan.shape) > 1, raw and plan.view
    if window == "global":
        return "global", positions and len(plan.shape) > 1 and prod(plan.shape.size) > 1, False
    if window == "flat":
        return _reshaped(seen, raw, plan.shape), positions and len(plan.shape) > 1, raw
    if not isinstance(seen, Reach):
        return seen, positions, False
    if isinstance(window, Window):
        seen = seen.through(window)
    elif isinstance(window, tuple):
        seen = seen.everything(window)
    return ("global" if seen.is_global else seen), positions, False


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
    """What a merge with `stops` positions sees: everything if one branch does."""
    first, *rest = reaches
    for other in rest:
        if first == "global" or other == "global":
            first = "global"
        elif isinstance(first, Reach) and isinstance(other, Reach):
            first = first.join(other, stops)
        else:
            first = None
    return first
