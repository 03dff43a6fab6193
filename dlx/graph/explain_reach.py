"""The arithmetic of receptive fields: a layer's step of the recurrence, and how the steps of a way add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ..layers.base import Kept
from ..layers.working import MOST_TERMS, Line, axis_names, figure, line
from ..shapes import Number, Reach, Shape, Window
from . import reach
from .graph import Graph, LayerNode, Seen, Wire

Axis = tuple[Number | None, Number, Number]
"""Size (None: everything), jump and start on one axis of positions."""

JUMP = "The jump, which `inspect` calls stride: input positions from one place of the output to the next."


def of_node(node: LayerNode, graph: Graph) -> list[Line]:
    """How a layer comes to see what it sees."""
    wires = [_wire(name, shape, graph) for name, shape in zip(node.inputs, node.arriving, strict=True)]
    came = reach.arriving(wires, node.plan)
    if node.reach == "nothing":
        return [Line(note="Nothing that comes in reaches it.")]
    if node.reach is None:
        return [Line(note="Its output has no positions that stand for places of the input.")]
    if node.reach == "global":
        return [Line(note=_why_global(node, came))]
    seen = reach.joined([told for _, told in came], node.shape.size)
    if node.plan.window == "flat" or not isinstance(seen, Reach):
        return [Line(note="It lays the input out on new axes: each position of them sees itself.")]
    before = (
        _merged(came, seen, node.shape)
        if len(came) > 1
        else [Line(note=f"So far, `{came[0][0].name}`: {geometry(seen)}.")]
    )
    return [*_cropped(came), *before, *_step(node, seen), *_beyond(node.reach, graph)]


def _wire(name: str, shape: Shape, graph: Graph) -> Wire:
    node = graph.by_name.get(name)
    if node is None:
        return Wire(name, shape, reach.of_input(shape), len(shape) > 1, raw=True)
    return Wire(name, shape, node.reach, node.positions)


def _why_global(node: LayerNode, came: Sequence[tuple[Wire, Seen]]) -> str:
    for wire, seen in came:
        if seen == "global" and wire.reach == "global":
            return f"`{wire.name}` sees the whole input already, and so does this."
        if seen == "global":
            return f"The one position of `{wire.name}` is stretched over all: each position sees the whole input."
    if isinstance(node.plan.window, tuple):
        return f"It mixes all positions along {_axes(node.plan.window, node.shape)}: now it sees the whole input."
    return "Each value depends on everything that comes in: it sees the whole input."


def _axes(which: Sequence[int], shape: Shape) -> str:
    names = axis_names(len(shape))
    return " and ".join(names[axis + 1] if axis + 1 < len(names) else f"axis {axis + 1}" for axis in which)


def _beyond(seen: Reach, graph: Graph) -> list[Line]:
    """A window that is wider than the input."""
    (shape, *others) = graph.inputs.values()
    if others or len(shape.size) != len(seen.size):
        return []
    wider = [(z, n) for z, n in zip(seen.size, shape.size, strict=True) if z is not None and z > n]
    told = " and ".join(
        dict.fromkeys(f"{figure(z)} is more than the {figure(n)} positions of the input" for z, n in wider)
    )
    return [Line(note=f"{told}: at every place a part of the window lies outside.")] if wider else []


def geometry(seen: Reach) -> str:
    """`size 7, jump 2, start -3`, axis by axis where they differ."""

    def told(values: Sequence[Number | None]) -> str:
        texts = ["everything" if value is None else figure(value) for value in values]
        return texts[0] if len(set(texts)) == 1 else " x ".join(texts)

    return f"size {told(seen.size)}, jump {told(seen.stride)}, start {told(seen.start)}"


# --- a window -------------------------------------------------------------------------------------------------------


def _step(node: LayerNode, seen: Reach) -> list[Line]:
    """From what comes in to what goes out."""
    window, after = node.plan.window, node.reach
    assert isinstance(after, Reach)
    if isinstance(window, Window):
        return _slid(window, seen, after)
    if isinstance(window, Kept):
        return [
            Line(note=f"Axes are dropped, or change places; those that stay keep what they see: {geometry(after)}.")
        ]
    if isinstance(window, tuple):
        return [Line(note=f"It mixes all positions along {_axes(window, node.shape)}: there it sees everything.")]
    if len(node.inputs) > 1:
        return []
    return [Line(note="It works at each position by itself, and sees there what came in.")]


def _slid(window: Window, seen: Reach, after: Reach) -> list[Line]:
    before = list(zip(seen.size, seen.stride, seen.start, strict=True))
    slid = zip(window.kernel, window.stride, window.before, window.dilation, strict=True)
    goes = zip(after.size, after.stride, after.start, strict=True)
    lines: dict[str, list[Line]] = {"size": [], "jump": [], "start": []}
    for axis, (came, (k, s, pad, d), out) in enumerate(zip(before, slid, goes, strict=True), start=1):
        (size, jump, start), (out_size, out_jump, out_start) = came, out
        known = {"jump": jump, "kernel": k, "dilation": d, "stride": s, "before": pad, "start": start}
        lines["jump"].append(_checked("jump * stride", "jump", out_jump, axis, known))
        lines["start"].append(_checked("start - before * jump", "start", out_start, axis, known))
        if size is None or out_size is None:
            lines["size"].append(Line(note=f"Along {axis_names(len(before) + 1)[axis]} it sees everything."))
            continue
        formula = "size + (kernel - 1) * dilation * jump"
        lines["size"].append(_checked(formula, "size", out_size, axis, {**known, "size": size}))
    return [*(each for kind in lines.values() for each in kind), Line(note=JUMP)]


def _checked(formula: str, what: str, value: Number, axis: int, known: dict[str, Number]) -> Line:
    """The line where it gives `value`; else the value alone, with the reason."""
    made = line(formula, known, what=what, axes=axis)
    if made.value == value:
        return made
    note = "the hull of one period of positions, which differ: the stride is a fraction"
    return Line(what, "", figure(value), value, note, axes=(axis,))


# --- a merge --------------------------------------------------------------------------------------------------------


def _cropped(came: Sequence[tuple[Wire, Seen]]) -> list[Line]:
    """Branches that begin later, because their start is cut off."""
    return [
        Line(note=f"`{wire.name}` is cropped: its start goes from {_starts(wire.reach)} to {_starts(seen)}.")
        for wire, seen in came
        if isinstance(wire.reach, Reach) and isinstance(seen, Reach) and wire.reach.start != seen.start
    ]


def _starts(seen: Seen) -> str:
    assert isinstance(seen, Reach)
    return geometry(seen).rsplit("start ", 1)[-1]


def _merged(came: Sequence[tuple[Wire, Seen]], seen: Reach, shape: Shape) -> list[Line]:
    """The hull of the branches."""
    branches = [told for _, told in came if isinstance(told, Reach)]
    if all(branch == branches[0] for branch in branches):
        return [Line(note=f"All branches see the same: {geometry(branches[0])}.")]
    names = [wire.name for wire, told in came if isinstance(told, Reach)]
    lines = [Line(note=f"`{name}`: {geometry(branch)}.") for name, branch in zip(names, branches, strict=True)]
    for axis in range(len(seen.size)):
        whole = (seen.size[axis], seen.stride[axis], seen.start[axis])
        lines += _hull([(b.size[axis], b.stride[axis], b.start[axis]) for b in branches], whole, axis + 1, shape)
    return [*lines, Line(note=_alignment(seen, branches))]


def _hull(branches: Sequence[Axis], whole: Axis, axis: int, shape: Shape) -> list[Line]:
    """From the first position that a branch sees to the last; the equations that hold, else the figures."""
    sizes = [size for size, _, _ in branches if size is not None]
    jumps, starts = [jump for _, jump, _ in branches], [start for _, _, start in branches]
    lines = []
    if len(sizes) == len(branches) <= MOST_TERMS and len(set(jumps)) == 1:
        ends = ", ".join(f"{figure(start)} + {figure(size)}" for start, size in zip(starts, sizes, strict=True))
        first = f"min({', '.join(map(figure, starts))})"
        lines = [
            Line("start", "the smallest start", first, whole[2], axes=(axis,)),
            Line("size", "largest start + size, less the start", f"max({ends}) - {first}", whole[0], axes=(axis,)),
        ]
    elif len(sizes) == len(branches) == 2:
        lines = _drifting(sizes, jumps, starts, whole, axis, shape[axis])
    if lines and all(each.holds for each in lines):
        return lines
    told = [("size", whole[0]), ("jump", whole[1]), ("start", whole[2])]
    return [
        Line(what, "", figure(value), value, "the hull", axes=(axis,)) for what, value in told if value is not None
    ]


def _drifting(
    sizes: Sequence[int | Fraction],
    jumps: Sequence[Number],
    starts: Sequence[Number],
    whole: Axis,
    axis: int,
    stops: int,
) -> list[Line]:
    """Two branches of different jumps: the slower falls behind from stop to stop."""
    slow = jumps.index(min(jumps))
    given = {"jump": max(jumps), "slower": min(jumps), "stops": stops}
    lag = line("(jump - slower) * (stops - 1)", given, what="lag", axes=axis)
    note = f"Of {figure(stops)} stops, the last: the branch of jump {figure(min(jumps))} has fallen so far behind."
    (start, behind), lost = (starts[1 - slow], starts[slow]), figure(lag.value or 0)
    first = f"min({figure(start)}, {figure(behind)} - {lost})"
    ends = ", ".join(f"{figure(b)} + {figure(z)}" for b, z in zip(starts, sizes, strict=True))
    return [
        replace(lag, note=note),
        Line("jump", "the larger", f"max({figure(jumps[0])}, {figure(jumps[1])})", whole[1], axes=(axis,)),
        Line("start", "the smaller start, after the lag", first, whole[2], axes=(axis,)),
        Line("size", "largest start + size, less the start", f"max({ends}) - {first}", whole[0], axes=(axis,)),
    ]


def _alignment(seen: Reach, branches: Sequence[Reach]) -> str:
    if seen.aligned:
        return "The branches are aligned: their windows have the same jump and the same centre."
    if not all(branch.aligned for branch in branches):
        return "Branches further up are not aligned, and so this is not."
    why = "jumps" if len({branch.stride for branch in branches}) > 1 else "centres"
    return f"The branches are not aligned: the {why} of their windows differ, and this is their hull."


# --- a way ----------------------------------------------------------------------------------------------------------


def growth(graph: Graph, node: LayerNode) -> list[Line]:
    """How the windows on the way to a node add up; a sentence where no one way explains what it sees."""
    if not isinstance(node.reach, Reach):
        return [Line(note="It sees the whole input." if node.reach == "global" else "There are no positions.")]
    lines = []
    for axis, size in enumerate(node.reach.size):
        steps = _steps(graph, node, axis)
        terms = [f"{figure(steps[jump])} * {figure(jump)}" for jump in sorted(steps)]
        note = "One term for each jump: the steps (kernel - 1) * dilation of the windows that came in with it."
        made = Line("size", "1 + steps * jump + ...", " + ".join(["1", *terms]), size, note, axes=(axis + 1,))
        if size is None or not made.holds:
            return [Line(note=f"It is the hull of several ways: {geometry(node.reach)}.")]
        lines.append(made)
    if all(size == 1 for size in node.reach.size):
        return [Line(note=f"No window widens it on the way: {geometry(node.reach)}.")]
    return [*lines, Line(note=f"In full: {geometry(node.reach)}.")]


def _steps(graph: Graph, node: LayerNode, axis: int) -> dict[Number, int]:
    """Window steps by the jump they are taken with, on the way that sees most."""
    steps: dict[Number, int] = {}
    at: LayerNode | None = node
    while at is not None:
        wires = [_wire(name, shape, graph) for name, shape in zip(at.inputs, at.arriving, strict=True)]
        seeing = [(w, w.reach) for w in wires if isinstance(w.reach, Reach) and len(w.reach.size) > axis]
        if not seeing:
            break
        wire, widest = max(seeing, key=lambda each: each[1].size[axis] or 0)
        if isinstance(at.plan.window, Window) and at.plan.window.kernel[axis] > 1:
            jump = widest.stride[axis]
            more = (at.plan.window.kernel[axis] - 1) * at.plan.window.dilation[axis]
            steps[jump] = steps.get(jump, 0) + more
        at = graph.by_name.get(wire.name)
    return steps
