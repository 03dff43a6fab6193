"""Propagation of receptive fields along the graph: on which positions of each input each value depends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from math import prod
from operator import is_

from ...errors import Problem
from ...layers import Plan
from ...layers.base import AxisConcat, AxisMap, AxisSlice, InputPaths, WindowLike
from ...shapes import ReceptiveField, Shape, UnknownReceptiveField, Window
from ..graph import AnyReceptiveField, LayerNode, SymbolicField, SymbolicFields, Wire
from . import axes
from .axes import AxisField, AxisWindow

ChannelAxes = dict[str, int | None]
"""The axis of each input that holds its channels, and no positions; None where all axes are positions."""


def of_input(name: str, shape: Shape) -> SymbolicFields:
    """Return the fields of an input's own values: each value sees itself."""
    return {name: SymbolicField(tuple(shape), axes.of_input(shape))}


def propagate(wires: Sequence[Wire], plan: Plan, node: str, channel_axes: ChannelAxes | None = None) -> Wire:
    """Return the output wire of a layer; channel axes that the layer reveals are added to `channel_axes`."""
    if len(wires) == 1 and plan.window == "pointwise" and not plan.no_gradient:
        is_input, fields = wires[0].is_input, wires[0].symbolic_fields
    else:
        inputs = input_fields(wires, plan)
        is_input = all(wire.is_input for wire, _ in inputs)
        fields = _output_fields(inputs, plan, node, is_input)
    if channel_axes is not None:
        _learn_channel_axes(channel_axes, wires, plan)
    return Wire(node, plan.shape, fields, is_input and plan.view and _is_rearranged(plan.window, wires))


def _is_rearranged(window: WindowLike, wires: Sequence[Wire]) -> bool:
    """Whether the output has the very values of the input, in another shape or order."""
    (shape, *_) = (wire.shape or Shape() for wire in wires)
    return window in ("pointwise", "flat") or (
        isinstance(window, AxisMap) and set(window.axes) == set(range(len(shape)))
    )


def input_fields(wires: Sequence[Wire], plan: Plan) -> list[tuple[Wire, SymbolicFields]]:
    """Return the inputs that a layer depends on, each with its fields after cropping and broadcasting."""
    seen = [(i, wire) for i, wire in enumerate(wires) if i not in plan.no_gradient]
    if len(wires) == 1 or isinstance(plan.window, InputPaths):
        return [(wire, wire.symbolic_fields) for _, wire in seen]
    aligned = [(wire, _aligned(wire, plan.crops[i] if plan.crops else (), plan)) for i, wire in seen]
    return aligned if len(seen) > 1 else [(wire, wire.symbolic_fields) for _, wire in seen]


def _aligned(wire: Wire, crop: Sequence[int], plan: Plan) -> SymbolicFields:
    """Return the fields of a layer's input after it is cropped, and broadcast from axes of length 1."""
    old, new = wire.shape or Shape(), plan.shape
    if len(old) != len(new) or (tuple(old) == tuple(new) and not any(crop)):
        return wire.symbolic_fields

    def align(window: AxisWindow, n: int) -> AxisWindow:
        for k, start in enumerate(crop, start=1):
            window = window.slice(k, start, 1, new[k]) if start or old[k] > new[k] else window
        return window if isinstance(plan.window, AxisConcat) else window.broadcast(old, new, n)

    return _map_windows(wire.symbolic_fields, align)


def _map_windows(
    fields: SymbolicFields, function: Callable[[AxisWindow, int], AxisWindow | None], node: str = ""
) -> SymbolicFields:
    """Apply a function to each window and the length of its axis; the field is unknown where it returns None.

    Returns the very object `fields` where no window changes.
    """
    changed: dict[str, SymbolicField | UnknownReceptiveField] = {}
    for name, field in fields.items():
        if isinstance(field, UnknownReceptiveField):
            changed[name] = field
            continue
        mapped = [one.map(function, n) for one, n in zip(field.axes, field.basis, strict=True)]
        known = tuple(one for one in mapped if one is not None)
        if all(map(is_, mapped, field.axes)):
            changed[name] = field
        else:
            changed[name] = (
                SymbolicField(field.basis, known) if len(known) == len(mapped) else UnknownReceptiveField(node)
            )
    return fields if all(changed[name] is field for name, field in fields.items()) else changed


# --- layers ---------------------------------------------------------------------------------------------------------


def _output_fields(
    inputs: Sequence[tuple[Wire, SymbolicFields]], plan: Plan, node: str, is_input: bool
) -> SymbolicFields:
    window = plan.window
    if window == "nothing" or not inputs:
        return {}
    if isinstance(window, AxisConcat):
        return _concatenate(inputs, window.axis, plan.shape, node)
    if isinstance(window, InputPaths):
        # Paths are numbered by all inputs of the layer, those that it does not depend on included
        by_index = dict(zip((i for i in count() if i not in plan.no_gradient), inputs, strict=False))
        paths = [
            _through_window(by_index[i][1], by_index[i][0].shape or Shape(), one, plan, node)
            for i, one in window.paths
            if i in by_index
        ]
        return merge(paths, node, are_branches=False)
    fields = merge([fields for _, fields in inputs], node)
    shape = plan.shape if len(inputs) > 1 else inputs[0][0].shape or Shape()
    if window == "flat" and is_input and (reshaped := _reshaped_vector(fields, plan.shape)):
        return reshaped
    return _through_window(fields, shape, window, plan, node)


def _through_window(fields: SymbolicFields, x: Shape, window: WindowLike, plan: Plan, node: str) -> SymbolicFields:
    if window == "pointwise":
        return fields
    if isinstance(window, Window):
        return _map_windows(fields, _sliding(x, window, plan), node)
    return _map_windows(fields, lambda one, n: _window_after(window, one, n, x, plan), node)


def _window_after(window: WindowLike, one: AxisWindow, n: int, x: Shape, plan: Plan) -> AxisWindow | None:
    """Return the window `one`, on an axis of `n` positions, after a layer; None where it cannot be followed."""
    match window:
        case AxisMap():
            return one.select_axes(window.axes, dict(window.picked), n)
        case AxisSlice():
            return one.slice(window.axis, window.start, window.step, plan.shape[window.axis])
        case "flat":
            return one.reshape(x, plan.shape)
        case tuple():
            return _on_equal_axes(one.mix_in_place([k + 1 for k in window], n), x, plan.shape)
    return _mix_all(one, n, x, plan.shape)


def _is_global_pool(plan: Plan, x: Shape) -> bool:
    """Whether a pool has one stop, over a whole map of several positions."""
    window, once = plan.window, prod(plan.shape.size) == 1 < prod(x.size)
    if not isinstance(window, Window) or not plan.by_channel or plan.weights or not once:
        return False
    axes = zip(window.extent, window.before, x.size, strict=True)
    return not window.shift and all(before >= 0 and n <= extent - before for extent, before, n in axes)


def _sliding(x: Shape, window: Window, plan: Plan) -> Callable[[AxisWindow, int], AxisWindow]:
    """Return what a layer's window makes of the one on an axis of so many positions."""
    if _is_global_pool(plan, x):
        # As `global_avg_pool`: its output has no positions, so that the network's receptive field is that before it
        return lambda one, n: one.select_axes((0, *(None for _ in x.size)), {}, n)

    def slide(one: AxisWindow, n: int) -> AxisWindow:
        one = one if plan.by_channel else one.mix((0,), n)
        for k, stops in enumerate(plan.shape.size):
            one = one.slide(k + 1, window, k, stops)
        return one

    return slide


def _mix_all(one: AxisWindow, n: int, x: Shape, out: Shape) -> AxisWindow:
    """Each value of the output depends on all of the input; axes of unchanged length are taken to stay in place."""
    mixed = one.mix_in_place(range(len(x)), n)
    if len(x) == len(out) > 1 and prod(out.size) > 1:
        return _on_equal_axes(mixed, x, out, with_channels=False)
    return replace(mixed, steps=((),) * len(out))


def _on_equal_axes(one: AxisWindow, x: Shape, out: Shape, with_channels: bool = True) -> AxisWindow:
    """Drop the steps along axes whose length has changed: their entries are not those of the input."""
    axes = zip(one.steps, x, out, strict=True)
    steps = tuple(f if n == m and (k or with_channels) else () for k, (f, n, m) in enumerate(axes))
    return replace(one, steps=steps)


def _reshaped_vector(fields: SymbolicFields, shape: Shape) -> SymbolicFields | None:
    """Return the fields of an input vector that is reshaped to several axes, whose values have positions then."""
    ((name, field), *others) = fields.items()
    if others or isinstance(field, UnknownReceptiveField) or len(field.basis) > 1 or sum(n > 1 for n in shape) < 2:
        return None
    return of_input(name, shape)


# --- merges ---------------------------------------------------------------------------------------------------------


def merge(branches: Sequence[SymbolicFields], node: str, are_branches: bool = True) -> SymbolicFields:
    """Return the union of the fields of branches in each input; a branch without a field in it adds nothing."""
    if len(branches) == 1:
        return branches[0]
    return {
        name: _merge_fields(
            [fields[name] for fields in branches if name in fields], node, lambda each: axes.union(each, are_branches)
        )
        for name in dict.fromkeys(name for fields in branches for name in fields)
    }


def _merge_fields(
    fields: Sequence[SymbolicField | UnknownReceptiveField],
    node: str,
    merge_axis: Callable[[Sequence[AxisField]], AxisField],
) -> SymbolicField | UnknownReceptiveField:
    """Merge the fields of branches axis by axis; unknown where one is, or where a vector has several shapes."""
    for field in fields:
        if isinstance(field, UnknownReceptiveField):
            return field
    known = [field for field in fields if isinstance(field, SymbolicField)]
    basis = known[0].basis
    if any(field.basis != basis for field in known):
        return UnknownReceptiveField(node)
    return SymbolicField(
        basis, tuple(merge_axis(each) for each in zip(*(field.axes for field in known), strict=True))
    )


def _concatenate(inputs: Sequence[tuple[Wire, SymbolicFields]], axis: int, shape: Shape, node: str) -> SymbolicFields:
    """Return the fields of branches that are concatenated along an axis."""
    lengths = [wire.shape[axis] if wire.shape else 0 for wire, _ in inputs]
    concatenated: dict[str, SymbolicField | UnknownReceptiveField] = {}
    for name in dict.fromkeys(name for _, fields in inputs for name in fields):
        places = [(sum(lengths[:i]), lengths[i]) for i, (_, fields) in enumerate(inputs) if name in fields]

        def merge_axis(each: Sequence[AxisField], places: Sequence[tuple[int, int]] = places) -> AxisField:
            pieces = [(field, *place) for field, place in zip(each, places, strict=True)]
            return axes.concatenate(pieces, axis, shape[axis])

        branches = [fields[name] for _, fields in inputs if name in fields]
        concatenated[name] = _merge_fields(branches, node, merge_axis)
    return concatenated


# --- positions ------------------------------------------------------------------------------------------------------


def _learn_channel_axes(channel_axes: ChannelAxes, wires: Sequence[Wire], plan: Plan) -> None:
    """Note the axis of an input that its first layer takes for its channels."""
    window = plan.window
    for wire in wires:
        if channel_axes.keys() >= wire.symbolic_fields.keys():
            continue
        x = wire.shape or Shape()
        for name, field in wire.symbolic_fields.items():
            if name in channel_axes or isinstance(field, UnknownReceptiveField):
                continue
            if isinstance(window, Window):
                channel_axes[name] = _channel_axis(field)
            elif isinstance(window, AxisMap) and x.dtype == "int" and None in window.axes:
                channel_axes[name] = None  # numbers are looked up: each stands at a position
            elif isinstance(window, AxisMap) and plan.weights and window.axes == (0, None) and _are_tokens(field):
                channel_axes[name] = 1


def _channel_axis(field: SymbolicField) -> int | None:
    """Return the axis of the input that lies on a window's channels; None where none does, and 0 lies elsewhere."""
    on_channels = [axis for axis, one in enumerate(field.axes) if any(window.steps[0] for window in one.windows)]
    if on_channels:
        return on_channels[0]
    if not field.axes:
        return None
    if not any(any(window.steps[1:]) for window in field.axes[0].windows):
        return 0
    mixed = [axis for axis, one in enumerate(field.axes) if not one.moves and one.windows[0].size is None]
    return mixed[0] if len(mixed) == 1 else None


def _are_tokens(field: SymbolicField) -> bool:
    """Whether an input of shape (tokens, values) still has its axes in that order."""
    return len(field.basis) == 2 and all(
        window.steps[k] for k, one in enumerate(field.axes) for window in one.windows
    )


def set_receptive_fields(
    inputs: Mapping[str, Shape], nodes: Sequence[LayerNode], channel_axes: ChannelAxes
) -> list[Problem]:
    """Set the receptive fields of each node, in positions of the inputs.

    Returns warnings where branches are not aligned; their paths are the names of nodes.
    """
    known = with_defaults(inputs, channel_axes)
    by_value: dict[str, Mapping[str, AnyReceptiveField]] = {}
    for name, shape in inputs.items():
        by_value[name] = _receptive_fields(of_input(name, shape), known)
    # By identity: pointwise layers, most of a deep network, pass the object on, and the figures with it
    summaries: dict[int, _Summary] = {}
    warnings = []
    for node in nodes:
        if id(node.symbolic_fields) not in summaries:
            summaries[id(node.symbolic_fields)] = _summary(node.symbolic_fields, inputs, known)
        node.receptive_fields, node.main_input, with_positions = summaries[id(node.symbolic_fields)]
        by_value[node.name] = node.receptive_fields
        node.inputs_with_positions = with_positions if len(node.shape) > 1 else ()
        warnings += _misaligned(node, by_value, several=len(inputs) > 1)
    return warnings


_Summary = tuple[Mapping[str, AnyReceptiveField], str, tuple[str, ...]]
"""The receptive fields of a value, its main input, and the inputs that its entries have different positions in."""


def _summary(symbolic: SymbolicFields, inputs: Iterable[str], known: ChannelAxes) -> _Summary:
    fields = {name: symbolic[name] for name in inputs if name in symbolic}
    positions = {
        name: _position_axes(field, known[name]) for name, field in fields.items() if isinstance(field, SymbolicField)
    }
    main = next((name for name in fields if positions.get(name, True)), next(iter(fields), ""))
    with_positions = tuple(name for name, each in positions.items() if any(one.moves for one in each))
    return _receptive_fields(fields, known), main, with_positions


def with_defaults(inputs: Mapping[str, Shape], channel_axes: ChannelAxes) -> ChannelAxes:
    """Complete the channel axes: the first axis of an input, unless the network takes another one."""
    usual = {name: None if shape.dtype == "int" and len(shape) == 1 else 0 for name, shape in inputs.items()}
    return usual | channel_axes


def _receptive_fields(fields: SymbolicFields, channel_axes: ChannelAxes) -> dict[str, AnyReceptiveField]:
    return {name: receptive_field(field, channel_axes[name]) for name, field in fields.items()}


def _position_axes(field: SymbolicField, channel_axis: int | None) -> list[AxisField]:
    return [one for axis, one in enumerate(field.axes) if axis != channel_axis]


def receptive_field(field: SymbolicField | UnknownReceptiveField, channel_axis: int | None) -> AnyReceptiveField:
    """Summarize a symbolic field as size, stride and start on each axis of positions of the input.

    Of a vector the positions are its values; None where a value depends on a single one of them.
    """
    if isinstance(field, UnknownReceptiveField):
        return field
    if not field.axes:  # a number by itself, such as a class
        return "global"
    positions = [axis for axis in range(len(field.axes)) if axis != channel_axis]
    windows = [field.axes[axis].hull(field.basis[axis]) for axis in positions or [0]]
    if all(window.size is None for window in windows):
        return "global"
    if len(field.axes) == 1 and channel_axis is not None and windows[0].size == 1:
        return None
    return ReceptiveField(
        tuple(window.size for window in windows),
        tuple(window.stride for window in windows),
        tuple(window.start for window in windows),
        all(field.axes[axis].aligned for axis in positions),
    )


def window_axes(field: SymbolicField | UnknownReceptiveField, channel_axis: int | None) -> tuple[int | None, ...]:
    """Return for each axis of a receptive field the axis of a layer's window that it lies on.

    None where it lies on several axes, on a part of one, or on the channels.
    """
    if isinstance(field, UnknownReceptiveField):
        return ()
    found: list[int | None] = []
    for axis, one in enumerate(field.axes):
        if axis != channel_axis or len(field.axes) == 1:
            places = {k for window in one.windows for k, factors in enumerate(window.steps) if factors}
            is_whole = all(len(factors) < 2 for window in one.windows for factors in window.steps)
            found.append(max(places) - 1 if len(places) == 1 and is_whole and max(places) else None)
    return tuple(found)


def _misaligned(
    node: LayerNode, fields: Mapping[str, Mapping[str, AnyReceptiveField]], several: bool
) -> list[Problem]:
    """Return the warnings of a merge whose branches have windows of different strides or centres.

    Only the merge at which it happens is named, not the layers behind it.
    """
    found = []
    for name, field in node.receptive_fields.items():
        if not isinstance(field, ReceptiveField) or field.aligned:
            continue
        before = [(source, fields[source][name]) for source in node.inputs if name in fields[source]]
        if all(not isinstance(of, ReceptiveField) or of.aligned for _, of in before):
            branches = _branches(before)
            what = f"the receptive field of `{name}`" if several else "the receptive field"
            message = f"the branches are not aligned: {branches}; {what} is their hull"
            found.append(Problem(message, "", node.mark, node.name))
    return found


def _branches(before: Sequence[tuple[str, AnyReceptiveField]]) -> str:
    """Describe how the windows of the branches differ."""
    geometries = {source: _geometry(field) for source, field in before}
    names = " and ".join(f"`{source}`" for source in geometries)
    if len(geometries) > 1 and len(set(geometries.values())) == 1:
        return f"each of {names} {geometries[before[0][0]]}, and their axes are not the same ones of the input"
    return " and ".join(f"`{source}` {words}" for source, words in geometries.items())


def _geometry(field: AnyReceptiveField) -> str:
    if not isinstance(field, ReceptiveField):
        return "sees everything"
    known = field.as_json()
    assert isinstance(known, dict)
    return f"has size {known['size']}, stride {known['stride']}, start {known['start']}"
