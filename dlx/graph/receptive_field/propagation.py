"""How receptive fields travel along the graph: what each value sees of each input, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from operator import is_

from ...errors import Problem
from ...layers import Plan
from ...layers.base import Cut, Joined, Kept, Ways, WindowLike
from ...shapes import ReceptiveField, Shape, UnknownReceptiveField, Window
from ..graph import AnyReceptiveField, Field, LayerNode, Sight, Wire
from . import axes
from .axes import Part, Span, joined

Channels = dict[str, int | None]
"""Which axis of each input holds its channels, and no positions; None where all are positions."""


def of_input(name: str, shape: Shape) -> Sight:
    """Each value of an input sees itself."""
    return {name: Field(tuple(shape), axes.of_input(shape))}


def through(wires: Sequence[Wire], plan: Plan, node: str, channels: Channels | None = None) -> Wire:
    """The output wire of a layer; the axis of each input that holds its channels is put into `channels`."""
    if len(wires) == 1 and plan.window == "pointwise" and not plan.blind:
        raw, seen = wires[0].raw, wires[0].sight
    else:
        came = arriving(wires, plan)
        raw = all(wire.raw for wire, _ in came)
        seen = _seen(came, plan, node, raw)
    if channels is not None:
        _learn(channels, wires, plan)
    return Wire(node, plan.shape, seen, raw and plan.view and _only_turned(plan.window, wires))


def _only_turned(window: WindowLike, wires: Sequence[Wire]) -> bool:
    """Whether the same values come out, in another shape or order."""
    (shape, *_) = (wire.shape or Shape() for wire in wires)
    return window in ("pointwise", "flat") or (
        isinstance(window, Kept) and set(window.axes) == set(range(len(shape)))
    )


def arriving(wires: Sequence[Wire], plan: Plan) -> list[tuple[Wire, Sight]]:
    """The inputs that a layer looks at, each with what it sees from where it meets the others."""
    looked = [(i, wire) for i, wire in enumerate(wires) if i not in plan.blind]
    if len(wires) == 1 or isinstance(plan.window, Ways):
        return [(wire, wire.sight) for _, wire in looked]
    met = [(wire, _met(wire, plan.crops[i] if plan.crops else (), plan)) for i, wire in looked]
    return met if len(looked) > 1 else [(wire, wire.sight) for _, wire in looked]


def _met(wire: Wire, crop: Sequence[int], plan: Plan) -> Sight:
    """Receptive fields of a layer's input after it is cropped, or broadcast from a single entry."""
    old, new = wire.shape or Shape(), plan.shape
    if len(old) != len(new):
        return wire.sight

    def met(part: Part, n: int) -> Part:
        for k, start in enumerate(crop, start=1):
            part = part.cut(k, start, 1, new[k]) if start or old[k] > new[k] else part
        return part if isinstance(plan.window, Joined) else part.broadcast(old, new, n)

    return _each(wire.sight, met)


def _made(made: Callable[[Part, int], Part | None], n: int, part: Part) -> Part | None:
    return made(part, n)


def _each(seen: Sight, made: Callable[[Part, int], Part | None], node: str = "") -> Sight:
    """Each window, with the length of the axis it is of, made into another; unknown where one cannot be.

    The very same where all windows stay as they are.
    """
    fields: dict[str, Field | UnknownReceptiveField] = {}
    for name, of in seen.items():
        if isinstance(of, UnknownReceptiveField):
            fields[name] = of
            continue
        spans = [span.each(partial(_made, made, n)) for span, n in zip(of.spans, of.basis, strict=True)]
        known = tuple(span for span in spans if span is not None)
        if all(map(is_, spans, of.spans)):
            fields[name] = of
        else:
            fields[name] = Field(of.basis, known) if len(known) == len(spans) else UnknownReceptiveField(node)
    return seen if all(fields[name] is of for name, of in seen.items()) else fields


# --- layers ---------------------------------------------------------------------------------------------------------


def _seen(came: Sequence[tuple[Wire, Sight]], plan: Plan, node: str, raw: bool) -> Sight:
    window = plan.window
    if window == "nothing" or not came:
        return {}
    if isinstance(window, Joined):
        return _end_to_end(came, window.axis, plan.shape, node)
    if isinstance(window, Ways):
        ways = [_one(came[i][1], came[i][0].shape or Shape(), one, plan, node) for i, one in window.ways]
        return merged(ways, node, are_branches=False)
    fields = merged([seen for _, seen in came], node)
    shape = plan.shape if len(came) > 1 else came[0][0].shape or Shape()
    if window == "flat" and raw and (based := _based(fields, plan.shape)):
        return based
    return _one(fields, shape, window, plan, node)


def _one(seen: Sight, x: Shape, window: WindowLike, plan: Plan, node: str) -> Sight:
    """One input under one window."""
    return seen if window == "pointwise" else _each(seen, lambda part, n: _under(window, part, n, x, plan), node)


def _under(window: WindowLike, part: Part, n: int, x: Shape, plan: Plan) -> Part | None:
    """The window on an axis of `n` positions after one more layer; None where it cannot be followed."""
    match window:
        case Window():
            return (
                part.on_axes((0, *(None for _ in x.size)), {}, n)
                if _pools_all(plan, x)
                else _slid(part, n, window, plan)
            )
        case Kept():
            return part.on_axes(window.axes, dict(window.picked), n)
        case Cut():
            return part.cut(window.axis, window.start, window.step, plan.shape[window.axis])
        case "flat":
            return part.reshaped(x, plan.shape)
        case tuple():
            return _on(part.everywhere([k + 1 for k in window], n), x, plan.shape)
    return _everything(part, n, x, plan.shape)


def _pools_all(plan: Plan, x: Shape) -> bool:
    """Whether a pool stands once, over a whole map: it is a global one."""
    window, once = plan.window, prod(plan.shape.size) == 1 < prod(x.size)
    if not isinstance(window, Window) or not plan.by_channel or plan.weights or not once:
        return False
    axes = zip(window.extent, window.before, x.size, strict=True)
    return not window.shift and all(before >= 0 and n <= extent - before for extent, before, n in axes)


def _slid(part: Part, n: int, window: Window, plan: Plan) -> Part:
    one = part if plan.by_channel else part.mixed([0], n)
    for k, stops in enumerate(plan.shape.size):
        one = one.slid(k + 1, window, k, stops)
    return one


def _everything(part: Part, n: int, x: Shape, out: Shape) -> Part:
    """Each value of the output sees all that comes in; positions that stay as many are taken to stay in place."""
    whole_part = part.everywhere(range(len(x)), n)
    if len(x) == len(out) > 1 and prod(out.size) > 1:
        return _on(whole_part, x, out, of_channels=False)
    return replace(whole_part, steps=((),) * len(out))


def _on(part: Part, x: Shape, out: Shape, of_channels: bool = True) -> Part:
    """Without the axes that have another length now: no entry of them stands where one of the input did."""
    axes = zip(part.steps, x, out, strict=True)
    steps = tuple(f if n == m and (k or of_channels) else () for k, (f, n, m) in enumerate(axes))
    return replace(part, steps=steps)


def _based(seen: Sight, shape: Shape) -> Sight | None:
    """A vector that is put on several axes: its values have their places there from now on."""
    ((name, of), *others) = seen.items()
    if others or isinstance(of, UnknownReceptiveField) or len(of.basis) > 1 or sum(n > 1 for n in shape) < 2:
        return None
    return of_input(name, shape)


# --- merges ---------------------------------------------------------------------------------------------------------


def merged(branches: Sequence[Sight], node: str, are_branches: bool = True) -> Sight:
    """The receptive field of a merge in each input; a branch without one in an input adds nothing to it."""
    if len(branches) == 1:
        return branches[0]
    return {
        name: _together(
            [seen[name] for seen in branches if name in seen], node, lambda spans: joined(spans, are_branches)
        )
        for name in dict.fromkeys(name for seen in branches for name in seen)
    }


def _together(
    fields: Sequence[Field | UnknownReceptiveField], node: str, merge: Callable[[Sequence[Span]], Span]
) -> Field | UnknownReceptiveField:
    """The field of several branches, axis by axis; unknown where one is, or where a vector has several shapes."""
    for of in fields:
        if isinstance(of, UnknownReceptiveField):
            return of
    known = [of for of in fields if isinstance(of, Field)]
    basis = known[0].basis
    if any(of.basis != basis for of in known):
        return UnknownReceptiveField(node)
    return Field(basis, tuple(merge(spans) for spans in zip(*(of.spans for of in known), strict=True)))


def _end_to_end(came: Sequence[tuple[Wire, Sight]], axis: int, shape: Shape, node: str) -> Sight:
    """Branches that lie one behind the other along an axis."""
    lengths = [wire.shape[axis] if wire.shape else 0 for wire, _ in came]
    fields: dict[str, Field | UnknownReceptiveField] = {}
    for name in dict.fromkeys(name for _, seen in came for name in seen):
        places = [(sum(lengths[:i]), lengths[i]) for i, (_, seen) in enumerate(came) if name in seen]

        def merge(spans: Sequence[Span], places: Sequence[tuple[int, int]] = places) -> Span:
            pieces = [(span, *place) for span, place in zip(spans, places, strict=True)]
            return axes.end_to_end(pieces, axis, shape[axis])

        fields[name] = _together([seen[name] for _, seen in came if name in seen], node, merge)
    return fields


# --- positions ------------------------------------------------------------------------------------------------------


def _learn(channels: Channels, wires: Sequence[Wire], plan: Plan) -> None:
    """Which axis of an input a first layer takes for its channels."""
    window = plan.window
    for wire in wires:
        if channels.keys() >= wire.sight.keys():
            continue
        x = wire.shape or Shape()
        for name, of in wire.sight.items():
            if name in channels or isinstance(of, UnknownReceptiveField):
                continue
            if isinstance(window, Window):
                channels[name] = _channels(of)
            elif isinstance(window, Kept) and x.dtype == "int" and None in window.axes:
                channels[name] = None  # numbers are looked up: each stands at a position
            elif isinstance(window, Kept) and plan.weights and window.axes == (0, None) and _are_tokens(of):
                channels[name] = 1


def _channels(of: Field) -> int | None:
    """The axis of the input that lies where a window has its channels; none, where the usual one lies elsewhere."""
    here = [axis for axis, span in enumerate(of.spans) if any(part.steps[0] for part in span.parts)]
    if here:
        return here[0]
    if not any(any(part.steps[1:]) for part in of.spans[0].parts):
        return 0
    mixed = [axis for axis, span in enumerate(of.spans) if not span.moves and span.parts[0].size is None]
    return mixed[0] if len(mixed) == 1 else None


def _are_tokens(of: Field) -> bool:
    """Whether an input of (tokens, values) has its axes as it came."""
    return len(of.basis) == 2 and all(part.steps[k] for k, span in enumerate(of.spans) for part in span.parts)


def set_fields(inputs: Mapping[str, Shape], nodes: Sequence[LayerNode], channels: Channels) -> list[Problem]:
    """Give each node its receptive fields, in positions of the inputs.

    Returns warnings where branches are not aligned; their paths are the names of nodes.
    """
    known = positions_of(inputs, channels)
    fields: dict[str, Mapping[str, AnyReceptiveField]] = {}
    for name, shape in inputs.items():
        fields[name] = _receptive_fields(of_input(name, shape), known)
    figures: dict[int, _Figures] = {}  # layers that look at single values hand on what came in
    warnings = []
    for node in nodes:
        if id(node.sight) not in figures:
            figures[id(node.sight)] = _figures(node.sight, inputs, known)
        node.fields, node.main, moving = figures[id(node.sight)]
        fields[node.name] = node.fields
        node.moving = moving if len(node.shape) > 1 else ()
        warnings += _misaligned(node, fields, several=len(inputs) > 1)
    return warnings


_Figures = tuple[Mapping[str, AnyReceptiveField], str, tuple[str, ...]]
"""The receptive fields of a value, its main input, and those that entries stand for different positions of."""


def _figures(sight_of: Sight, inputs: Iterable[str], known: Channels) -> _Figures:
    seen = {name: sight_of[name] for name in inputs if name in sight_of}
    spread = {name: _of_positions(of, known[name]) for name, of in seen.items() if isinstance(of, Field)}
    main = next((name for name in seen if spread.get(name, True)), next(iter(seen), ""))
    moving = tuple(name for name, spans in spread.items() if any(span.moves for span in spans))
    return _receptive_fields(seen, known), main, moving


def positions_of(inputs: Mapping[str, Shape], channels: Channels) -> Channels:
    """Which axis of each input holds its channels: the first, unless the network takes another one for them."""
    usual = {name: None if shape.dtype == "int" and len(shape) == 1 else 0 for name, shape in inputs.items()}
    return usual | channels


def _receptive_fields(seen: Sight, channels: Channels) -> dict[str, AnyReceptiveField]:
    """`receptive_field` of each input, by name."""
    return {name: receptive_field(of, channels[name]) for name, of in seen.items()}


def _of_positions(of: Field, channel: int | None) -> list[Span]:
    return [span for axis, span in enumerate(of.spans) if axis != channel]


def receptive_field(of: Field | UnknownReceptiveField, channel: int | None) -> AnyReceptiveField:
    """A receptive field in positions of the input; of a vector, in values of it, where it is more than one."""
    if isinstance(of, UnknownReceptiveField):
        return of
    positions = [axis for axis in range(len(of.spans)) if axis != channel]
    axes = positions or [0]
    parts = [of.spans[axis].hull(of.basis[axis]) for axis in axes]
    if all(part.size is None for part in parts):
        return "global"
    if len(of.spans) == 1 and channel is not None and parts[0].size == 1:
        return None
    return ReceptiveField(
        tuple(part.size for part in parts),
        tuple(part.stride for part in parts),
        tuple(part.start for part in parts),
        all(of.spans[axis].aligned for axis in positions),
    )


def along(of: Field | UnknownReceptiveField, channel: int | None) -> tuple[int | None, ...]:
    """The axis of a window that each axis of a receptive field lies on; None where it is not one, or on channels."""
    if isinstance(of, UnknownReceptiveField):
        return ()
    axes_on: list[int | None] = []
    for axis, span in enumerate(of.spans):
        if axis != channel or len(of.spans) == 1:
            places = {k for part in span.parts for k, factors in enumerate(part.steps) if factors}
            whole = all(len(factors) < 2 for part in span.parts for factors in part.steps)
            axes_on.append(max(places) - 1 if len(places) == 1 and whole and max(places) else None)
    return tuple(axes_on)


def _misaligned(
    node: LayerNode, fields: Mapping[str, Mapping[str, AnyReceptiveField]], several: bool
) -> list[Problem]:
    """The warnings of a merge whose branches have windows of other strides or centres."""
    found = []
    for name, seen in node.fields.items():
        before = [(source, fields[source][name]) for source in node.inputs if name in fields[source]]
        if (
            isinstance(seen, ReceptiveField)
            and not seen.aligned
            and all(not isinstance(of, ReceptiveField) or of.aligned for _, of in before)
        ):
            branches = _branches(before)
            what = f"the receptive field of `{name}`" if several else "the receptive field"
            message = f"the branches are not aligned: {branches}; {what} is their hull"
            found.append(Problem(message, "", node.mark, node.name))
    return found


def _branches(before: Sequence[tuple[str, AnyReceptiveField]]) -> str:
    """How the windows of the branches differ."""
    geometries = {source: _geometry(of) for source, of in before}
    names = " and ".join(f"`{source}`" for source in geometries)
    if len(geometries) > 1 and len(set(geometries.values())) == 1:
        return f"each of {names} {geometries[before[0][0]]}, and their axes are not the same ones of the input"
    return " and ".join(f"`{source}` {words}" for source, words in geometries.items())


def _geometry(seen: AnyReceptiveField) -> str:
    if not isinstance(seen, ReceptiveField):
        return "sees everything"
    known = seen.as_json()
    assert isinstance(known, dict)
    return f"has size {known['size']}, stride {known['stride']}, start {known['start']}"
