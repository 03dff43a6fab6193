"""The tables of `dlx diff`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ..errors import plural, shortened
from ..graph import AnyReceptiveField, LayerNode
from ..graph.comparison.diff import Diff, Diffs, LayerChange, Setting, plain
from ..shapes import Shape, UnknownReceptiveField, by_x, bytes_text
from ..spec.validation import shown
from .console import TextTable, document, out

Cells = tuple[str, ...]
SIGNS = {"added": "+", "removed": "-", "changed": "~", "unchanged": ""}
SPARE = ("memory", "MACs", "field", "output")
LONG_RUN = 30
"""Most layers in succession, all added or removed outside a scope, that have a row each; more share one."""
SHAPES_RUN = 12
"""Most layers in succession of which only shapes changed that have a row each; more share one."""
NAMES = {"params": "parameters", "macs": "MACs", "activation_bytes": "memory", "buffers": "buffered values"}


def difference(found: Diff | Diffs, as_json: bool = False) -> None:
    """Print the differences of the networks, of their totals and of the other settings."""
    if as_json:
        document(found.as_json())
        return
    if found.same_network and not found.settings:
        out(f"The two are the same: {_size(found)}, and all settings{_names(found)}.")
        return
    out(f"{found.a.name} -> {found.b.name}" if found.a.name != found.b.name else found.a.name, "bold")
    if isinstance(found, Diff):
        _layers(found, "The networks are the same")
    elif found.same_network:
        out(f"The networks are the same: {_size(found)}{_names(found)}.")
    else:
        for name, each in found.networks.items():
            out(name, "bold")
            _layers(each, "It is the same")
            _settings(each.settings)
            out()
        _sums(found).print()
    if found.settings:
        out()
    _settings(found.settings)


def _layers(found: Diff, same: str) -> None:
    """Print the layers of a network that differ, and its totals."""
    if found.same_network:
        out(f"{same}: {_size(found)}{_names(found)}.")
        return
    grid = TextTable("", "layer", "change", ">output", ">params", ">MACs", ">memory", ">field", spare=SPARE)
    for row in rows(found.changes):
        grid.add(*row)
    grid.print()
    out()
    _totals(found).print()


def _settings(settings: Sequence[Setting]) -> None:
    for setting in settings:
        out(f"{setting.key}: {_value(setting.a)} -> {_value(setting.b)}")


def _size(found: Diff | Diffs) -> str:
    count = plural(len(found.b), "network") if isinstance(found, Diffs) else plural(len(found.b.nodes), "layer")
    return f"{count}, {plural(found.b.params, 'parameter')}"


def _names(found: Diff | Diffs) -> str:
    each = found.networks.values() if isinstance(found, Diffs) else [found]
    renamed = sum(one.renamed for one in each)
    return f"; {plural(renamed, 'layer')} by another name" if renamed else ""


def _value(value: Any) -> str:
    return "not given" if value is None else shown(value)


def _totals(found: Diff) -> TextTable:
    """Return a row for each total of the two graphs, with the difference, and for their receptive fields."""
    grid = _sums(found)
    for name in dict.fromkeys((*found.a.receptive_fields, *found.b.receptive_fields)) or [""]:
        fields = (found.a.receptive_fields.get(name), found.b.receptive_fields.get(name))
        several = max(len(found.a.receptive_fields), len(found.b.receptive_fields)) > 1
        of = f" of {name}" if several else ""
        grid.add(f"receptive field{of}", *("none" if seen is None else _total(seen) for seen in fields), "")
    return grid


def _sums(found: Diff | Diffs) -> TextTable:
    """Return a row for each total that is a sum: parameters, MACs, memory."""
    names = (found.a.name, found.b.name) if found.a.name != found.b.name else ("before", "after")
    what = "total" if isinstance(found, Diff) else "all networks"
    grid = TextTable(what, *(f">{name}" for name in names), ">difference")
    for name, (a, b) in found.totals().items():
        if (a or b) and (name != "trainable" or (a, b) != (found.a.params, found.b.params)):
            text = bytes_text if name == "activation_bytes" else "{:,}".format
            part = f" ({_ratio(a, b)})" if a and a != b else ""
            grid.add(NAMES.get(name, name), text(a), text(b), _signed(b - a, name == "activation_bytes") + part)
    return grid


def _total(seen: AnyReceptiveField) -> str:
    return f"unknown from {seen.node} on" if isinstance(seen, UnknownReceptiveField) else str(seen)


def _ratio(a: int, b: int) -> str:
    return f"{(b - a) / a:+.1%}" if b < 10 * a else f"x{b / a:,.0f}"


# --- rows -----------------------------------------------------------------------------------------------------------


def rows(steps: Sequence[LayerChange]) -> Iterator[Cells]:
    """Yield a row for each layer that differs; equal layers in succession, whole scopes and repetitions share one."""
    whole = _whole_scopes(steps)
    for (change, like), run in groupby(_tagged(steps), lambda tagged: tagged[:2]):
        part = [step for *_, step in run]
        if like:
            yield _like(like, part)
        elif change == "unchanged":
            yield _unchanged(part)
        elif change == "changed":
            yield from _changed(part)
        else:
            yield from _one_sided(part, whole)


def _tagged(steps: Sequence[LayerChange]) -> Iterator[tuple[str, str, LayerChange]]:
    """Yield each step with its change and the name of the scope just before that changed in the same way."""
    before: list[tuple[object, ...]] = []
    name = ""
    for scope, inside in groupby(steps, lambda step: step.node.name.rpartition("/")[0]):
        part = list(inside)
        changes = [_change_of(step, scope) for step in part]
        changed = scope and len(part) > 1 and any(step.change == "changed" for step in part)
        like = name if changed and changes == before else ""
        if changed and not like:
            before, name = changes, scope
        for step in part:
            yield "changed" if like else step.change, like, step


def _change_of(step: LayerChange, scope: str) -> tuple[object, ...]:
    """Return the change of a layer in comparable form, without shapes, which follow from other changes."""
    facts = tuple(_fact(name, *sides) for name, sides in step.facts.items() if name not in _SHAPES)
    return (step.node.name.removeprefix(scope), step.change, step.options, facts)


def _like(like: str, steps: Sequence[LayerChange]) -> Cells:
    scopes = list(dict.fromkeys(step.node.name.rpartition("/")[0] for step in steps))
    last = scopes[-1].rsplit("/", 1)[-1]
    name = scopes[0] if len(scopes) == 1 else f"{scopes[0]} to {last}"
    return ("~", name, f"{'each ' if len(scopes) > 1 else ''}as in {like}", "", *_counts(steps), "")


def _unchanged(run: Sequence[LayerChange]) -> Cells:
    moved = any(step.receptive_field_texts[0] != step.receptive_field_texts[1] for step in run)
    return ("", f"... {plural(len(run), 'layer')} unchanged", "field differs" if moved else "", *[""] * 5)


def _scopes(name: str) -> list[str]:
    """Return the scopes around a node: `a`, `a/b` of `a/b/conv_1`."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _whole_scopes(steps: Sequence[LayerChange]) -> set[tuple[str, str]]:
    """Return the scopes of several layers that were added or removed as a whole."""
    held = {"removed": Counter[str](), "added": Counter[str]()}
    gone = {"removed": Counter[str](), "added": Counter[str]()}
    for step in steps:
        for side, node in (("removed", step.a), ("added", step.b)):
            held[side].update(_scopes(node.name) if node else [])
        if step.change in gone:
            gone[step.change].update(_scopes(step.node.name))
    return {(side, scope) for side in gone for scope, n in gone[side].items() if n == held[side][scope] > 1}


def _one_sided(run: Sequence[LayerChange], whole: set[tuple[str, str]]) -> Iterator[Cells]:
    """Yield rows of layers that were added or removed: one for a scope or for equal scopes, else one for a layer."""

    def scope(step: LayerChange) -> str:
        return next((s for s in _scopes(step.node.name) if (step.change, s) in whole), "")

    groups = [(name, list(steps)) for name, steps in groupby(run, scope)]
    for _, equal in groupby(groups, lambda group: _group_key(*group)):
        found = list(equal)
        steps = [step for _, inside in found for step in inside]
        if found[0][0]:
            yield _scope_row([name for name, _ in found], steps)
        elif len(steps) > LONG_RUN:
            yield _summary(f"{steps[0].node.name} to {steps[-1].node.name}", plural(len(steps), "layer"), steps)
        else:
            yield from map(_row, steps)


def _group_key(name: str, steps: Sequence[LayerChange]) -> tuple[object, ...]:
    """Return a key that is equal for scopes which share a row: base name, and kinds and shapes of the layers."""
    return (re.sub(r"_\d+$", "", name), *((s.node.kind, s.node.shape) for s in steps if name))


def _scope_row(names: Sequence[str], steps: Sequence[LayerChange]) -> Cells:
    layers = plural(len(steps) // len(names), "layer")
    if len(names) == 1:
        return _summary(names[0], layers, steps)
    return _summary(f"{names[0]} to {names[-1].rsplit('/', 1)[-1]}", f"{len(names)} times {layers}", steps)


def _changed(run: Sequence[LayerChange]) -> Iterator[Cells]:
    """Yield rows of changed layers one by one; many in succession of which only shapes differ share one."""
    for only_shapes, part in groupby(run, lambda step: not step.options and step.facts.keys() <= _SHAPES):
        steps = list(part)
        if only_shapes and len(steps) > SHAPES_RUN:
            yield ("~", f"... {len(steps)} layers", "other shapes", "", *_counts(steps), "")
        else:
            yield from map(_row, steps)


_SHAPES = {"shape", "arriving"}


def _summary(name: str, change: str, steps: Sequence[LayerChange]) -> Cells:
    """Return a row for several layers that were added or removed."""
    last = steps[-1]
    return (SIGNS[last.change], name, change, by_x(last.node.shape), *_counts(steps), _receptive_field(last))


def _row(step: LayerChange) -> Cells:
    names = [node.name for node in (step.a, step.b) if node]
    name = " -> ".join(dict.fromkeys(names))
    return (SIGNS[step.change], name, _change(step), _shape(step), *_counts([step]), _receptive_field(step))


def _change(step: LayerChange) -> str:
    """Describe a change: `conv out_channels 16, kernel_size 3` of a new layer, `kernel_size 3 -> 5` of another."""
    if step.change != "changed":
        return f"{step.node.kind} {_options(step.node)}".rstrip()
    options = [f"{name} {_option(a)} -> {_option(b)}" for name, (a, b) in step.options.items()]
    facts = {name: sides for name, sides in step.facts.items() if name != "shape"}
    if "arriving" in facts and options:
        del facts["arriving"]  # the row of the layer that makes the shape shows it
    return ", ".join([_fact(name, *sides) for name, sides in facts.items()] + options)


def _fact(name: str, a: Any, b: Any) -> str:
    if name == "arriving":
        return f"takes {_shapes(a)} -> {_shapes(b)}"
    if name == "inputs":
        return f"from {', '.join(a)} -> {', '.join(b)}"
    if name == "kind":
        return f"{a} -> {b}"
    if name in {"owner", "tied"}:
        return f"weights of {a or 'its own'} -> {b or 'its own'}"
    if name == "frozen":
        return f"frozen {b}" if isinstance(b, str) else "frozen" if b else "no longer frozen"
    return "other given values"


def _shapes(shapes: Sequence[Shape]) -> str:
    return " and ".join(dict.fromkeys(map(by_x, shapes)))


def _options(node: LayerNode) -> str:
    """Describe the options that are not at their defaults."""
    declared = plain(node.layer)
    options = declared[node.kind] if isinstance(declared, dict) else {}
    return shortened(", ".join(f"{name} {_option(value)}" for name, value in options.items()))


def _option(value: Any) -> str:
    return "none" if value is None else shown(plain(value))


def _shape(step: LayerChange) -> str:
    if step.a and step.b and step.a.shape != step.b.shape:
        return f"{by_x(step.a.shape)} -> {by_x(step.b.shape)}"
    return by_x(step.node.shape)


def _counts(steps: Sequence[LayerChange]) -> Cells:
    return (
        _signed(sum(step.params for step in steps)),
        _signed(sum(step.macs for step in steps)),
        _signed(sum(step.activation_bytes for step in steps), memory=True),
    )


def _signed(count: int, memory: bool = False) -> str:
    if not count:
        return ""
    return f"{'+' if count > 0 else '-'}{bytes_text(abs(count)) if memory else format(abs(count), ',')}"


def _receptive_field(step: LayerChange) -> str:
    """Return the receptive field, of both sides where it differs."""
    a, b = step.receptive_field_texts
    return f"{a} -> {b}" if step.change == "changed" and a != b else b or a
