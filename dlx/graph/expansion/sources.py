"""What an entry takes: the wires that its `from` names, and the inputs of a block or scope that they go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import Mark, did_you_mean
from ...spec.expressions import ItemBudget, has_expression, resolve
from ...spec.syntax.read import Node
from ..graph import Wire
from .entries import EntryParts, Reader, why_no_name
from .place import Placer
from .results import result_of
from .scope import Arriving, Scope

NUMBERED = "A node has no number: give it a `name`; `prev` is the one right above."
MERGE = "Merge them first: `- concat` or `- add` with that `from`."


@dataclass(frozen=True, slots=True)
class Taker:
    """Something with several inputs: a block, a scope that is shared, or a layer."""

    what: str
    """The beginning of messages: "the block `decoder`"."""
    inputs: Sequence[str]
    mark: Mark | None = None
    """The place that names the inputs."""


class Sources:
    """Finds the wires of entries; mistakes are reported, and their wires have no shape."""

    def __init__(self, placer: Placer, read: Reader, budget: ItemBudget) -> None:
        self.placer, self.problems, self.read, self.fail = placer, placer.problems, read, read.fail
        self.budget = budget

    def of(self, parts: EntryParts, scope: Scope, x: Wire) -> Arriving:
        """Return what an entry takes: what its `from` names, or the output `x` of the entry above."""
        node = parts.modifiers.get("from")
        if node is None:
            return Arriving((x,))
        if has_expression(node.value):
            on_error = self.read.error_callback(parts.label)
            node = resolve(node, scope.variables(x), on_error, self.budget)
        if node.broken:
            return Arriving((_broken(),), node=node)
        refs = list(node.map.values()) if node.is_map else node.list if node.is_list else [node]
        if not refs:
            self.fail("`from` names nothing", "Name a node, or drop `from`.", node, parts.label)
            return Arriving((_broken(),), node=node)
        one = not (node.is_list or node.is_map)
        wires = (_broken() if self.problems.full else self.source(ref, parts.label, scope, x, one) for ref in refs)
        return Arriving(tuple(wires), tuple(node.map), node)

    def source(self, ref: Node, label: str, scope: Scope, x: Wire, one: bool) -> Wire:
        """Return the wire that a word of `from` names: the `one` that stands there, or an item of several."""
        if one:
            what, hint = "`from` must be the name of a node, or a list of them", NUMBERED
        else:
            what, hint = "an item of `from` must be the name of a node", NUMBERED
            if isinstance(ref.value, str) and has_expression(ref.value):
                hint = 'An expression that makes a list stands alone: `from: "${names}"`.'
            elif ref.is_list:
                hint = "In an expression a node is its shape; its name wants quotes: `${['a', 'b']}`."
        text = self.read.value(ref, scope.variables(x), str, what, label, hint)
        if text is None:
            return _broken()
        wire = x if text == "prev" else scope.block_input if text == "input" else scope.names.find(text)
        if wire is None and "." in text:
            wire = self.result(text, ref, label, scope, x)
        if wire is None and "," in text:
            self.fail(f"there is no node `{text}`", f"Several names are a list: `from: [{text}]`.", ref, label)
        elif wire is None and text.partition(".")[0] not in self.placer.unread_inputs:
            own, text = label.removeprefix(scope.names.prefix), text.rpartition(".")[0] or text
            self.fail(*self.placer.explain_unknown(text, own, scope.names, ref.mark), ref, label)
        return wire or _broken()

    def result(self, text: str, ref: Node, label: str, scope: Scope, x: Wire) -> Wire | None:
        """Return the wire of `memory.state`; None where there is no `memory`."""
        name, _, key = text.rpartition(".")
        base = x if name == "prev" else scope.block_input if name == "input" else scope.names.find(name)
        if base is None:
            return None
        found = result_of(self.placer, base, key, ref.mark)
        if isinstance(found, Wire):
            return found
        self.fail(*found, ref, label)
        return _broken()

    def in_order(self, taker: Taker, arriving: Arriving, at: Node, label: str) -> Arriving:
        """Return the wires in the order of the inputs of `taker`; broken ones where they do not fit, told here."""
        inputs, count = taker.inputs, max(1, len(taker.inputs))
        named = dict(zip(arriving.names, arriving.wires, strict=False))
        broken = Arriving((_broken(),) * count, tuple(inputs), arriving.node)
        names = ", ".join(f"`{name}`" for name in inputs)
        line = taker.mark.in_brackets if taker.mark is not None else ""
        hint = f"Write `from: {{{', '.join(f'{name}: ...' for name in inputs)}}}`."
        if named and not inputs:
            if not arriving.is_broken:
                message = f"{taker.what} takes one input without a name, and `from` is a mapping"
                self.fail(message, "Write `from: NODE`.", at, label)
            return broken
        unknown = [name for name in named if name not in inputs]
        for name in unknown:
            message = f"{taker.what} has no input `{name}`{line}"
            node = arriving.node.map[name] if arriving.node is not None else at
            self.fail(message, did_you_mean(name, inputs, "the inputs"), node, label)
        missing = [name for name in inputs if name not in named] if named else []
        if missing and not unknown:
            lacking = " and ".join(f"`{name}`" for name in missing)
            self.fail(f"{taker.what} takes {names}{line}, and `from` gives no {lacking}", hint, at, label)
        if unknown or missing:
            return broken
        if len(arriving.wires) != count and not arriving.is_broken:
            written = (
                f"`from` names {len(arriving.wires)}" if arriving.node is not None else "the entry has no `from`"
            )
            takes = f"takes {count} inputs, {names}{line}" if len(inputs) > 1 else "takes one input"
            if not inputs:
                hint = MERGE
            self.fail(f"{taker.what} {takes}, and {written}", hint, at, label)
        if len(arriving.wires) != count:
            return broken
        wires = tuple(named[name] for name in inputs) if named else arriving.wires
        return Arriving(wires, tuple(inputs), arriving.node)

    def of_layer(self, kind: str, inputs: Sequence[str], any_of: bool, arriving: Arriving, label: str) -> Arriving:
        """Return the wires of a layer in the order of its inputs, where its `from` names them.

        `any_of`: whether any of them may be left out behind the first; else only the last ones may.
        """
        if not arriving.names or arriving.node is None:
            return arriving
        broken = Arriving((_broken(),), node=arriving.node)
        if not inputs:
            message = f"the inputs of `{kind}` have no names, and `from` is a mapping"
            self.fail(message, "Write a list, in their order: `from: [a, b]`.", arriving.node, label)
            return broken
        unknown = [name for name in arriving.names if name not in inputs]
        for name in unknown:
            hint = did_you_mean(name, inputs, "the inputs")
            self.fail(f"`{kind}` has no input `{name}`", hint, arriving.node.map[name], label)
        names = tuple(name for name in inputs if name in arriving.names)
        missing = [name for name in inputs[: 1 if any_of else len(names)] if name not in names]
        if missing and not unknown:
            extra = ", ".join(f"`{name}`" for name in names)
            message = f"`{kind}` takes {extra} only with `{missing[0]}`, which `from` does not give"
            self.fail(message, f"Write `from: {{{missing[0]}: prev, ...}}`.", arriving.node, label)
        if unknown or missing:
            return broken
        named = dict(zip(arriving.names, arriving.wires, strict=True))
        return Arriving(tuple(named[name] for name in names), names, arriving.node)

    def fit_structure(self, kind: str, arriving: Arriving, by_name: bool, entry: Node, label: str) -> bool:
        """Whether a structure can take what arrives: one input, or several with names; reports it if not."""
        for name in arriving.names:
            if (why := why_no_name(name)) is not None and arriving.node is not None:
                self.fail(f"an input cannot be called `{name}`{why[0]}", why[1], arriving.node.map[name], label)
        count = len(arriving.wires)
        if by_name or (count == 1 and not arriving.names):
            return True
        if arriving.is_broken:
            return False
        if kind == "layers" and arriving.names:
            message = "`layers` whose `from` names its inputs has no `name`"
            self.fail(message, "Give it one: its inputs are names in its scope.", entry, label)
        elif kind == "layers":
            message = f"`layers` takes one input, or several by name, and `from` is a list of {count}"
            hint = "Write `from: {left: ..., right: ...}` and a `name`; or merge them first, by `- concat`."
            self.fail(message, hint, entry, label)
        elif count > 1:
            self.fail(f"`{kind}` takes one input, and `from` names {count}", MERGE, entry, label)
        else:
            self.fail(f"`{kind}` has one input without a name", "Write `from: NODE`.", entry, label)
        return False


def _broken() -> Wire:
    return Wire("", None)
