"""Explanations of receptive fields: a layer's step of the recurrence, and the sum of the steps along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ...layers.arithmetic import MOST_TERMS, Line, axis_names, figure, line
from ...layers.base import AxisConcat, AxisMap, AxisSlice, InputPaths
from ...shapes import Number, ReceptiveField, Shape, UnknownReceptiveField, Window
from ..graph import AnyReceptiveField, Graph, LayerNode, Wire
from . import propagation

Axis = tuple[Number | None, Number, Number]
"""Size (None: the whole axis), jump and start on one axis of positions."""

JUMP = "The jump, which `inspect` calls stride: input positions from one place of the output to the next."


@dataclass(frozen=True)
class _LayerStep:
    """One layer and the receptive fields in one input, before and after it."""

    node: LayerNode
    name: str
    """The name of the input."""
    branches: tuple[tuple[Wire, AnyReceptiveField], ...]
    """Each wire into the layer with its receptive field, cropped and broadcast as at the merge."""
    before: AnyReceptiveField
    """The union of the branches, before the layer's own window."""
    channel_axis: int | None
    """The axis of the input that holds its channels."""
    window_axes: tuple[int | None, ...]
    """For each axis of the receptive field the axis of the layer's window that it lies on; None where it is not
    one."""

    @property
    def after(self) -> AnyReceptiveField:
        return self.node.receptive_fields[self.name]


def of_node(node: LayerNode, graph: Graph) -> list[Line]:
    """Explain the receptive field of a layer, input by input."""
    if not node.receptive_fields:
        return [Line(note="Nothing that comes in reaches it.")]
    if len(node.receptive_fields) == 1:
        return _explain_input(_step(node, node.main_input, graph), graph)
    lines = []
    for name, seen in node.receptive_fields.items():
        lines.append(Line(note=f"Of `{name}`: {seen_in_words(seen)}."))
        lines += _explain_input(_step(node, name, graph), graph)
    return lines


def _step(node: LayerNode, name: str, graph: Graph) -> _LayerStep:
    wires = [_wire(source, shape, graph) for source, shape in zip(node.inputs, node.arriving, strict=True)]
    inputs = [(wire, fields) for wire, fields in propagation.input_fields(wires, node.plan) if name in fields]
    channel_axis = graph.channel_axes.get(name, 0)
    merged = propagation.merge([fields for _, fields in inputs], node.name)[name]
    return _LayerStep(
        node,
        name,
        tuple((wire, propagation.receptive_field(fields[name], channel_axis)) for wire, fields in inputs),
        propagation.receptive_field(merged, channel_axis),
        channel_axis,
        propagation.window_axes(merged, channel_axis),
    )


def _explain_input(step: _LayerStep, graph: Graph) -> list[Line]:
    node, after = step.node, step.after
    if after is None:
        return [Line(note="Its output has no positions that stand for places of the input.")]
    if isinstance(after, UnknownReceptiveField):
        why = "One of its axes ends within a row of positions: what it sees cannot be followed."
        return [Line(note=why if after.node == node.name else f"It cannot be followed from `{after.node}` on.")]
    if after == "global":
        return [Line(note=_why_global(step))]
    seen = step.before
    if not isinstance(seen, ReceptiveField) or not isinstance(after, ReceptiveField):
        return [Line(note=f"It lays the input out on new axes: {seen_in_words(after)}.")]
    if isinstance(node.plan.window, InputPaths):
        return [Line(note=f"Several ways lead through it; together they see {geometry(after)}.")]
    before = (
        _explain_merge(step, seen)
        if len(step.branches) > 1
        else [Line(note=f"So far, `{step.branches[0][0].name}`: {geometry(seen)}.")]
    )
    return [*_explain_crop(step), *before, *_explain_window(step, seen, after), *_note_wider(step, after, graph)]


def _wire(name: str, shape: Shape, graph: Graph) -> Wire:
    node = graph.by_name.get(name)
    if node is None:
        return Wire(name, shape, propagation.of_input(name, shape), is_input=True)
    return Wire(name, shape, node.symbolic_fields)


def _why_global(step: _LayerStep) -> str:
    node = step.node
    for wire, seen in step.branches:
        if seen == "global":
            return f"`{wire.name}` sees the whole input already, and so does this."
    window = node.plan.window
    if isinstance(window, tuple) and any(k >= 0 for k in window):
        return f"It mixes all positions along {_axes(window, node.shape)}: now it sees the whole input."
    return "Each value depends on everything that comes in: it sees the whole input."


def _axes(which: Sequence[int], shape: Shape) -> str:
    names = axis_names(len(shape))
    return " and ".join(names[axis + 1] if axis + 1 < len(names) else f"axis {axis + 1}" for axis in which)


def _note_wider(step: _LayerStep, after: ReceptiveField, graph: Graph) -> list[Line]:
    """Note a window that is wider than the input."""
    shape, channel = graph.inputs[step.name], graph.channel_axes.get(step.name, 0)
    size = [n for axis, n in enumerate(shape) if axis != channel]
    if len(size) != len(after.size):
        return []
    wider = [(z, n) for z, n in zip(after.size, size, strict=True) if z is not None and z > n]
    sums = " and ".join(
        dict.fromkeys(f"{figure(z)} is more than the {figure(n)} positions of the input" for z, n in wider)
    )
    return [Line(note=f"{sums}: at every place a part of the window lies outside.")] if wider else []


def seen_in_words(seen: AnyReceptiveField) -> str:
    """Format a receptive field: `size 7, jump 2, start -3`, `everything`, `no positions`."""
    if isinstance(seen, ReceptiveField):
        return geometry(seen)
    if isinstance(seen, UnknownReceptiveField):
        return f"unknown from `{seen.node}` on"
    return {"global": "everything", "nothing": "nothing", None: "no positions"}[seen]


def geometry(seen: ReceptiveField) -> str:
    """Format size, jump and start: `size 7, jump 2, start -3`, axis by axis where they differ."""

    def text(values: Sequence[Number | None]) -> str:
        texts = ["everything" if value is None else figure(value) for value in values]
        return texts[0] if len(set(texts)) == 1 else " x ".join(texts)

    return f"size {text(seen.size)}, jump {text(seen.stride)}, start {text(seen.start)}"


# --- a window -------------------------------------------------------------------------------------------------------


def _explain_window(step: _LayerStep, seen: ReceptiveField, after: ReceptiveField) -> list[Line]:
    """Explain the step from the field before the layer (`seen`) to the one after it."""
    window, node = step.node.plan.window, step.node
    if isinstance(window, Window):
        return _explain_sliding(step, window, seen, after)
    mixed = [k for k in window if k >= 0] if isinstance(window, tuple) else []
    note = ""
    if isinstance(window, AxisMap):
        note = f"Axes are dropped, or change places; those that stay keep what they see: {geometry(after)}."
    elif window == "flat":
        note = f"The same values stand on other axes: {geometry(after)}."
    elif mixed:
        note = f"It mixes all positions along {_axes(mixed, node.shape)}: there it sees everything."
    elif isinstance(window, AxisConcat | AxisSlice):
        note = "" if after == seen else f"Along axis {window.axis + 1}: {geometry(after)}."
    elif len(node.inputs) == 1:
        note = "It works at each position by itself, and sees there what came in."
    return [Line(note=note)] if note else []


def _explain_sliding(step: _LayerStep, window: Window, seen: ReceptiveField, after: ReceptiveField) -> list[Line]:
    lines: dict[str, list[Line]] = {"size": [], "jump": [], "start": []}
    came = zip(seen.size, seen.stride, seen.start, strict=True)
    goes = zip(after.size, after.stride, after.start, strict=True)
    for axis, (before, out, k) in enumerate(zip(came, goes, step.window_axes, strict=True), start=1):
        (size, jump, start), (out_size, out_jump, out_start) = before, out
        if k is None:
            lines["size"].append(Line(note=f"Axis {axis} of the input: {seen_in_words(_on_axis(after, axis - 1))}."))
            continue
        taps = {"kernel": window.kernel[k], "dilation": window.dilation[k]}
        known = {**taps, "jump": jump, "stride": window.stride[k], "before": window.before[k], "start": start}
        lines["jump"].append(_checked_line("jump * stride", "jump", out_jump, axis, known))
        lines["start"].append(_checked_line("start - before * jump", "start", out_start, axis, known))
        if size is None or out_size is None:
            lines["size"].append(Line(note=f"Along {axis_names(len(seen.size) + 1)[axis]} it sees everything."))
            continue
        formula = "size + (kernel - 1) * dilation * jump"
        lines["size"].append(_checked_line(formula, "size", out_size, axis, {**known, "size": size}))
    return [*(each for kind in lines.values() for each in kind), Line(note=JUMP)]


def _on_axis(seen: ReceptiveField, axis: int) -> ReceptiveField:
    return ReceptiveField(seen.size[axis : axis + 1], seen.stride[axis : axis + 1], seen.start[axis : axis + 1])


def _checked_line(formula: str, what: str, value: Number, axis: int, known: dict[str, Number]) -> Line:
    """Return the equation where it gives `value`; else the value alone, with the reason."""
    made = line(formula, known, what=what, axes=axis)
    if made.value == value:
        return made
    note = "the hull of one period of positions, which differ: the stride is a fraction"
    return Line(what, "", figure(value), value, note, axes=(axis,))


# --- a merge --------------------------------------------------------------------------------------------------------


def _explain_crop(step: _LayerStep) -> list[Line]:
    """Explain branches whose start is cropped."""
    if not step.node.plan.crops:
        return []
    lines = []
    for wire, seen in step.branches:
        whole = _uncropped(step, wire)
        if isinstance(whole, ReceptiveField) and isinstance(seen, ReceptiveField) and whole.start != seen.start:
            note = f"`{wire.name}` is cropped: its start goes from {_start_text(whole)} to {_start_text(seen)}."
            lines.append(Line(note=note))
    return lines


def _uncropped(step: _LayerStep, wire: Wire) -> AnyReceptiveField:
    """Return the receptive field of a wire before it is cropped or broadcast."""
    return propagation.receptive_field(wire.symbolic_fields[step.name], step.channel_axis)


def _start_text(seen: AnyReceptiveField) -> str:
    assert isinstance(seen, ReceptiveField)
    return geometry(seen).rsplit("start ", 1)[-1]


def _explain_merge(step: _LayerStep, seen: ReceptiveField) -> list[Line]:
    """Explain the hull of the branches."""
    branches = [(wire.name, seen) for wire, seen in step.branches if isinstance(seen, ReceptiveField)]
    fields = [seen for _, seen in branches]
    if all(branch == fields[0] for branch in fields):
        return [Line(note=f"All branches see the same: {geometry(fields[0])}.")]
    lines = [Line(note=f"`{name}`: {geometry(branch)}.") for name, branch in branches]
    for axis in range(len(seen.size)):
        whole = (seen.size[axis], seen.stride[axis], seen.start[axis])
        at = step.window_axes[axis]
        stops = step.node.shape.size[at] if at is not None else 1
        ends = [(field.size[axis], field.stride[axis], field.start[axis]) for field in fields]
        lines += _explain_hull(ends, whole, axis + 1, stops)
    return [*lines, Line(note=_alignment(seen, fields))]


def _explain_hull(branches: Sequence[Axis], whole: Axis, axis: int, stops: int) -> list[Line]:
    """Explain the hull of branches on one axis; figures alone where no equation holds."""
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
        lines = _explain_drift(sizes, jumps, starts, whole, axis, stops)
    if lines and all(each.holds for each in lines):
        return lines
    figures = [("size", whole[0]), ("jump", whole[1]), ("start", whole[2])]
    return [
        Line(what, "", figure(value), value, "the hull", axes=(axis,)) for what, value in figures if value is not None
    ]


def _explain_drift(
    sizes: Sequence[int | Fraction],
    jumps: Sequence[Number],
    starts: Sequence[Number],
    whole: Axis,
    axis: int,
    stops: int,
) -> list[Line]:
    """Explain the hull of two branches of different jumps: the one drifts away from the other."""
    _, jump, _ = whole
    if jump not in jumps:
        return []
    other = 1 - jumps.index(jump)
    known = {"other": jumps[other], "jump": jump, "stops": stops}
    lag = line("(other - jump) * (stops - 1)", known, what="lag", axes=axis)
    where = "ahead" if jumps[other] > jump else "behind"
    note = f"Of {figure(stops)} stops, the last: the branch of jump {figure(jumps[other])} is so far {where}."
    lags = [(lag.value or 0) * (n == other) for n in range(2)]
    firsts = [f"{figure(a)} - {figure(-d)}" if d < 0 else figure(a) for a, d in zip(starts, lags, strict=True)]
    lasts = [
        f"{figure(a)} + {figure(z)}" + (f" + {figure(d)}" if d > 0 else "")
        for a, z, d in zip(starts, sizes, lags, strict=True)
    ]
    first, least = f"min({', '.join(firsts)})", "min" if jump == min(jumps) else "max"
    return [
        replace(lag, note=note),
        Line("jump", "that of the smallest hull", f"{least}({', '.join(map(figure, jumps))})", jump, axes=(axis,)),
        Line("start", "the smallest start, at any stop", first, whole[2], axes=(axis,)),
        Line(
            "size",
            "the largest end, at any stop, less the start",
            f"max({', '.join(lasts)}) - {figure(whole[2])}",
            whole[0],
            axes=(axis,),
        ),
    ]


def _alignment(seen: ReceptiveField, branches: Sequence[ReceptiveField]) -> str:
    if seen.aligned:
        return "The branches are aligned: their windows have the same jump and the same centre."
    if not all(branch.aligned for branch in branches):
        return "Branches further up are not aligned, and so this is not."
    why = "jumps" if len({branch.stride for branch in branches}) > 1 else "centres"
    return f"The branches are not aligned: the {why} of their windows differ, and this is their hull."


# --- a path ---------------------------------------------------------------------------------------------------------


def growth(graph: Graph, node: LayerNode, name: str = "") -> list[Line]:
    """Explain a receptive field as a sum over the windows on the path to a node, where it is one."""
    name = name or node.main_input
    seen = node.receptive_fields.get(name)
    if not isinstance(seen, ReceptiveField):
        sees = "It sees the whole input." if seen == "global" else "There are no positions."
        return [Line(note=f"It is {seen_in_words(seen)}." if isinstance(seen, UnknownReceptiveField) else sees)]
    lines = []
    for axis, size in enumerate(seen.size):
        steps = _steps_by_jump(graph, node, name, axis)
        terms = [f"{figure(steps[jump])} * {figure(jump)}" for jump in sorted(steps)]
        note = "One term for each jump: the steps (kernel - 1) * dilation of the windows that came in with it."
        made = Line("size", "1 + steps * jump + ...", " + ".join(["1", *terms]), size, note, axes=(axis + 1,))
        if size is None or not made.holds:
            return [Line(note=f"It is the hull of several ways: {geometry(seen)}.")]
        lines.append(made)
    if all(size == 1 for size in seen.size):
        return [Line(note=f"No window widens it on the way: {geometry(seen)}.")]
    return [*lines, Line(note=f"In full: {geometry(seen)}.")]


def _steps_by_jump(graph: Graph, node: LayerNode, name: str, axis: int) -> dict[Number, int]:
    """Return the window steps (kernel - 1) * dilation by their jump, along the path with the widest field."""
    steps: dict[Number, int] = {}
    at: LayerNode | None = node
    while at is not None:
        before = _step(at, name, graph)
        seeing = [(w, seen) for w, _ in before.branches if isinstance(seen := _uncropped(before, w), ReceptiveField)]
        if not seeing:
            break
        wire, widest = max(seeing, key=lambda each: each[1].size[axis] or 0)
        window, k = at.plan.window, before.window_axes[axis]
        if isinstance(window, Window) and k is not None and window.kernel[k] > 1:
            jump = widest.stride[axis]
            steps[jump] = steps.get(jump, 0) + (window.kernel[k] - 1) * window.dilation[k]
        at = graph.by_name.get(wire.name)
    return steps
