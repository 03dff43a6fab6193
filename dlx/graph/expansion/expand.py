"""Expansion of the layers of a spec in one walk, from top to bottom; each use of a block for its own input shape.

Structures (`residual`, `parallel`, `repeat`, `for`, `share`) have a method each; other entries are layers and blocks.
A mistake is reported and the walk goes on: values that depend on it have no shape, and cause no further problems.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import did_you_mean
from ...layers import LAYERS
from ...spec.expressions import ItemBudget, UnknownValue, has_expression, resolve
from ...spec.syntax.read import BROKEN, Node
from ...spec.validation import closest_matches, shown
from ..graph import Wire
from .blocks import check_blocks, inputs_of
from .entries import STRUCTURES, EntryParts, Reader
from .lenders import Lender, Replaying, Shared, both_fit
from .limits import MAX_CALLS, TooLarge, Usage
from .loops import Loop, Loops
from .place import Placer
from .repeats import Repeats
from .scope import Arriving, Names, Scope, Variables
from .sources import Sources, Taker


class Expander:
    """Expands entries; `placer` turns each layer into a node of the graph."""

    def __init__(self, placer: Placer, blocks: Node, usage: Usage) -> None:
        self.placer, self.problems, self.usage = placer, placer.problems, usage
        check_blocks(blocks, placer.problems)
        usable = {name: block for name, block in blocks.map.items() if name not in LAYERS and name not in STRUCTURES}
        self.blocks = Node(usable, blocks.mark)
        self.blocks_unread = not blocks.is_map and blocks.value is not None
        """Whether the section `blocks` is no mapping, which is told there."""
        self.read = Reader(placer.problems, self.blocks, placer.path)
        self.fail = self.read.fail
        self.depth = 0
        self.item_budget = ItemBudget(1_000_000)
        self.sources = Sources(placer, self.read, self.item_budget)
        self.loops = Loops(self.read, self.item_budget)
        self.repeats = Repeats(self)
        self.scopes: dict[str, tuple[Node, Scope]] = {}
        """Scopes by full name: the entry of each, and the scope around it."""
        placer.scopes = self.scopes
        self.replaying: Replaying | None = None
        """The scope that `share` repeats meanwhile."""

    # --- entries ----------------------------------------------------------------------------------------------------

    def run(self, layers: Node, scope: Scope, x: Wire) -> Wire:
        """Expand a list of entries from top to bottom, or a single entry; return the output wire."""
        items = layers.list if layers.is_list else [] if layers.value is None else [layers]
        for entry in items:
            x = self.entry(entry, scope, x)
        return x

    def entry(self, entry: Node, scope: Scope, x: Wire, arriving: Arriving | None = None) -> Wire:
        """Expand one entry, and count it; a mistake in it gives a wire without a shape.

        It takes what its `from` names, or what stands above it, unless `arriving` is given.
        """
        self.count(entry, scope)
        self.depth += 1
        try:
            return self._entry(entry, scope, x, arriving)
        except UnknownValue:  # an expression needs the shape of a value behind a mistake, which is reported there
            return self.broken(_written_name(entry), scope)
        finally:
            self.depth -= 1

    def count(self, at: Node, scope: Scope) -> None:
        """Count one more entry or turn of a loop. TooLarge where a limit is exceeded, which is reported."""
        self.usage.count(at)
        problem = self.usage.problem(self.depth, len(self.problems.found))
        if problem is not None:
            self.fail(*problem, at, scope.names.prefix)
            raise TooLarge

    def broken(self, local: str, scope: Scope) -> Wire:
        """Return the output of an entry with a mistake; its name is registered, so that its users are no mistakes."""
        wire = _broken(scope.names.prefix + local)
        if local:
            scope.names.wires.setdefault(local, wire)
        return wire

    def _entry(self, entry: Node, scope: Scope, x: Wire, arriving: Arriving | None) -> Wire:
        parts = self.read.parts(entry, scope)
        if parts is None:
            self.usage.ran.add(id(entry))
            return self.broken(_written_name(entry), scope)
        when = parts.modifiers.get("when")
        # A condition without `x` is evaluated before `from`, whose nodes may not exist where it is false
        early = when is not None and not re.search(r"\bx\b", str(when.value))
        if early and not (answer := self.when(parts, scope.variables(x))):
            return x if answer is False else self.broken(_written_name(entry), scope)
        arriving = arriving or self.sources.of(parts, scope, x)
        if parts.kind in self.blocks.map:
            names, mark = inputs_of(self.blocks.map[parts.kind])
            taker = Taker(f"the block `{parts.kind}`", names, mark)
            arriving = self.sources.in_order(taker, arriving, entry, parts.label)
        elif parts.kind in LAYERS:
            cls = LAYERS[parts.kind]
            any_of = "takes" in cls.model_fields
            arriving = self.sources.of_layer(parts.kind, cls.input_names, any_of, arriving, parts.label)
        variables = scope.variables(arriving.wires[0])
        if when is not None and not early and not (answer := self.when(parts, variables)):
            return x if answer is False else self.broken(_written_name(entry), scope)
        self.usage.ran.add(id(entry))
        name = self.read.node_name(parts.modifiers.get("name"), variables, parts.label)
        if parts.kind in STRUCTURES or parts.kind in self.blocks.map:
            return self.structure(parts, entry, scope, arriving, name)
        return self.layer(parts, entry, scope, arriving, name)

    def when(self, parts: EntryParts, variables: Variables) -> bool | None:
        """Evaluate the condition of an entry; None where it has a mistake."""
        what, node = "`when` must be true or false", parts.modifiers["when"]
        bare = isinstance(node.value, str) and not has_expression(node.value) and " " in node.value
        hint = f"An expression stands in `${{...}}`: `when: ${{{node.value}}}`." if bare else ""
        answer: bool | None = self.read.value(node, variables, bool, what, parts.label, hint)
        return answer

    def structure(self, parts: EntryParts, entry: Node, scope: Scope, arriving: Arriving, name: str) -> Wire:
        kind = parts.kind
        for key in ("values", "tie"):
            if key in parts.modifiers:
                hint = "Put it beside the layer that it is for."
                self.fail(f"`{key}` belongs to a layer, not to `{kind}`", hint, parts.modifiers[key], parts.label)
        if kind in self.blocks.map:
            return self.block(parts, entry, scope, arriving, name or scope.names.fresh(kind))
        if kind == "share":
            return self.share(parts, entry, scope, arriving, name or scope.names.fresh(kind))
        by_name = kind == "layers" and bool(name and arriving.names)
        if not self.sources.fit_structure(kind, arriving, by_name, entry, parts.label):
            return self.broken(name, scope)
        inner = scope.inside(name) if name else scope
        if by_name:
            inner = arriving.into(inner, arriving.node or entry)
        y: Wire = getattr(self, f"_{kind}")(parts.options, inner, arriving.wires[0])
        if name:
            self.close(name, entry, scope, y)
        return y

    def close(self, name: str, entry: Node, scope: Scope, y: Wire) -> None:
        """End a named scope: from now on its name stands for its output."""
        self.scopes.setdefault(scope.names.prefix + name, (entry, scope))
        self.register(name, scope, y, entry)

    def layer(self, parts: EntryParts, entry: Node, scope: Scope, arriving: Arriving, name: str) -> Wire:
        kind, wires = parts.kind, arriving.wires
        self.usage.layers += 1
        local = name or scope.names.fresh(kind)
        full = scope.names.prefix + local
        place = entry.map.get(kind, entry)
        if kind not in LAYERS and self.blocks_unread:
            y = _broken(full)  # it may be one of them
        elif kind not in LAYERS:
            y = _broken(full)
            self.fail(f"there is no layer or block `{kind}`", self.read.kind_meant(kind), place, full)
        elif self.read.names_inside(kind, parts.options, full, scope):
            y = _broken(full)
        else:
            variables, on_error = scope.variables(wires[0]), self.read.error_callback(full)
            options = resolve(parts.options, variables, on_error, self.item_budget)
            values, tie = (
                resolve(parts.modifiers[key], variables, on_error, self.item_budget)
                if key in parts.modifiers
                else None
                for key in ("values", "tie")
            )
            tied = self.placer.tied_node(tie, scope.names, full)
            self.placer.await_facts(kind, options)
            y = self.placer.place(
                kind, options, place.mark, full, arriving, values=values, tied=tied, shared=self.shared(full)
            )
        self.register(local, scope, y, entry)
        return y

    def shared(self, full: str) -> Shared | None:
        """Return the node whose weights a node shares while `share` repeats a scope; else None."""
        if self.replaying is None or not full.startswith(self.replaying.new):
            return None
        of, name = self.replaying.of, self.replaying.shared + full.removeprefix(self.replaying.new)
        return Shared(name) if of is None else Shared(name, of.name, of.placer)

    def register(self, local: str, scope: Scope, y: Wire, entry: Node) -> None:
        """Give a wire its name in a scope, in which each name must be unique."""
        names = scope.names
        if local in names.wires and local in names.marks:
            mark = names.marks[local]
            again = mark == entry.mark and (mark.line or mark.order)  # values of one override share their mark
            hint = "Inside a `repeat`, put the index into the name: ${i}." if again else "Rename one."
            self.fail(f"the name `{local}` is taken{mark.on_line}", hint, entry, names.prefix + local)
            return
        names.wires[local] = y
        names.marks[local] = entry.mark

    # --- structures -------------------------------------------------------------------------------------------------

    # Methods by the name of their structure: `structure` finds them by it

    def _layers(self, options: Node, scope: Scope, x: Wire) -> Wire:
        return self.run(options, scope, x)

    def _residual(self, options: Node, scope: Scope, x: Wire) -> Wire:
        fields = self.read.fields("residual", options, scope, "layers")
        if fields is None:
            return _broken()
        main = self.run(fields["layers"], scope, x)
        short = self.run(fields.get("shortcut", Node([], options.mark)), scope, x)
        return self.merge(
            fields, "add", options, scope, [short, main]
        )  # the shortcut first: the order of channels of a DenseNet

    def _parallel(self, options: Node, scope: Scope, x: Wire) -> Wire:
        fields = self.read.fields("parallel", options, scope, "branches")
        if fields is None:
            return _broken()
        ends = self.branches(fields["branches"], scope, x)
        return self.merge(fields, "concat", options, scope, ends) if ends else _broken()

    def branches(self, node: Node, scope: Scope, x: Wire) -> list[Wire]:
        """Expand the branches of `parallel`: a list, or a `for` or `repeat` whose turns are branches."""
        path = scope.names.prefix + "parallel.branches"
        if has_expression(node.value):
            node = resolve(node, scope.variables(x), self.read.error_callback(path), self.item_budget)
        if node.map.keys() & {"for", "repeat"}:
            return self.generated(node, scope, x, path)
        if not node.list and not node.broken:
            message = f"`branches` must be a list of lists of layers, not {shown(node.plain())}"
            hint = "Write `branches: [[relu], [tanh]]`, or `branches: {for: {rate: [1, 2]}, layers: [...]}`."
            self.fail(message, hint, node, path)
        return [self.run(branch, scope, x) for branch in node.list]

    def generated(self, node: Node, scope: Scope, x: Wire, path: str) -> list[Wire]:
        """Expand a loop whose turns stand side by side."""
        parts = self.read.parts(node, scope)
        if parts is None:
            return []
        for key, written in parts.modifiers.items():
            hint = f"Put `{key}` beside `parallel`, or into the layers of a branch."
            self.fail(f"`{key}` stands beside the `{parts.kind}` that makes branches", hint, written, path)
        loop = (self.loops.walk if parts.kind == "for" else self.loops.repeat)(parts.options, scope, x)
        if loop is None:
            return []
        if not loop.turns:
            self.fail(f"the `{parts.kind}` of `branches` makes no branch", "It needs a turn or more.", loop.at, path)
        ends = []
        for turn in loop.turns:
            self.count(loop.at, scope)
            ends.append(self.run(loop.layers, scope.with_vars(turn), x))
        return ends

    def merge(self, fields: Mapping[str, Node], default: str, at: Node, scope: Scope, ends: list[Wire]) -> Wire:
        entry = fields.get("merge", Node(default, at.mark))
        parts = self.read.parts(entry, scope)
        if parts is None:
            return _broken()
        y = ends[0]
        if parts.kind == "sum" and entry.value == "sum":
            path = f"{scope.names.prefix}{'parallel' if default == 'concat' else 'residual'}.merge"
            self.fail(
                "`sum` adds up an axis of one input, and `merge` joins several", "Write `merge: add`.", entry, path
            )
            return _broken()
        if len(ends) > 1:
            name = self.read.node_name(parts.modifiers.get("name"), scope.variables(y), parts.label)
            y = self.layer(parts, entry, scope, Arriving(tuple(ends)), name)
        return self.run(fields["after"], scope, y) if "after" in fields else y

    def _repeat(self, options: Node, scope: Scope, x: Wire) -> Wire:
        return self.in_turn(self.loops.repeat(options, scope, x), scope, x)

    def _for(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        return self.in_turn(self.loops.walk(entry, scope, x), scope, x)

    def in_turn(self, loop: Loop | None, scope: Scope, x: Wire) -> Wire:
        """Expand the turns of a loop one after the other."""
        if loop is None:
            return _broken()
        for turn in loop.turns:
            self.count(loop.at, scope)
            x = self.run(loop.layers, scope.with_vars(turn), x)
        return x

    def share(self, parts: EntryParts, entry: Node, scope: Scope, arriving: Arriving, name: str) -> Wire:
        """Expand `share`: use the weights of an earlier node, or of every node of an earlier scope, once more."""
        what = "`share` must be the name of a node"
        target, label = parts.options, scope.names.prefix + name
        text = self.read.value(target, scope.variables(arriving.wires[0]), str, what, label)
        if text is None:
            return self.broken(name, scope)
        if (lent := self.lent(text, scope)) is not None:
            if self.is_own(text, scope):
                self.fail(*both_fit(text, *lent), target, label)
                return self.broken(name, scope)
            return self.share_other(*lent, entry, scope, arriving, name)
        scoped = self.placer.full_name(text, scope.names, self.scopes)
        if scoped in self.scopes:
            return self.replay(scoped, entry, scope, arriving, name)
        return self.share_layer(text, target, entry, scope, arriving, name)

    def is_own(self, text: str, scope: Scope) -> bool:
        """Whether a name is that of a node or scope of this network."""
        return (
            scope.names.find(text) is not None or self.placer.full_name(text, scope.names, self.scopes) in self.scopes
        )

    def share_layer(self, text: str, target: Node, entry: Node, scope: Scope, arriving: Arriving, name: str) -> Wire:
        """Expand `share` of one layer of this network."""
        wire, label = scope.names.find(text), scope.names.prefix + name
        of = self.placer.lenders.get(text.partition("/")[0])
        if wire is None and of is not None and not of.clean:
            return self.broken(name, scope)  # what is missing there may stand behind its mistake
        if wire is None or self.placer.is_input(wire) or scope.names.is_input(text):
            self.fail(*self.placer.explain_not_shared(text, name, scope.names, target.mark), target, label)
            return self.broken(name, scope)
        if arriving.names and wire.name in self.placer.by_name:
            first = self.placer.by_name[wire.name]
            taker = Taker(f"`{text}`", first.takes, first.mark)
            arriving = self.sources.in_order(taker, arriving, entry, label)
        y = self.placer.place_shared(wire.name, label, arriving.wires, target.mark)
        self.register(name, scope, y, entry)
        return y

    def lent(self, text: str, scope: Scope) -> tuple[Lender, str] | None:
        """Return the other network that `share` names, and the node or scope there; None where it names none.

        Within what is repeated of another network, a name that is not here stands for what is there.
        """
        name, _, inside = text.partition("/")
        if (lender := self.placer.lenders.get(name)) is not None and lender.has(inside):
            return lender, inside
        within = self.replaying.of if self.replaying is not None else None
        if within is not None and within.has(text) and not self.is_own(text, scope):
            return within, text
        return None

    def share_other(
        self, lender: Lender, inside: str, entry: Node, scope: Scope, arriving: Arriving, name: str
    ) -> Wire:
        """Expand `share` of a node or scope of another network."""
        if inside in lender.scopes:
            return self.replay(inside, entry, scope, arriving, name, lender)
        first, label = lender.nodes[inside], scope.names.prefix + name
        if arriving.names:
            taker = Taker(f"`{lender.name}/{inside}`", first.takes, first.mark)
            arriving = self.sources.in_order(taker, arriving, entry, label)
        y = self.placer.place_shared(first.name, label, arriving.wires, entry.map["share"].mark, lender)
        self.register(name, scope, y, entry)
        return y

    def replay(
        self, scoped: str, entry: Node, scope: Scope, arriving: Arriving, name: str, of: Lender | None = None
    ) -> Wire:
        """Expand the entry of a scope again, of this network or of another one.

        Each of its nodes shares the weights of its counterpart.
        """
        source, place = (self if of is None else of).scopes[scoped]
        written = source.map if source.is_map else {str(source.value): Node(None, source.mark)}
        again = {key: node for key, node in written.items() if key not in {"from", "name", "when"}}
        again["name"] = Node(name, source.mark)
        inputs = place.names.inner[scoped.removeprefix(place.names.prefix)].inputs
        taker = Taker(f"the scope `{scoped}`", inputs, source.mark)
        arriving = self.sources.in_order(taker, arriving, entry, scope.names.prefix + name)
        outer, self.replaying = self.replaying, Replaying(f"{scope.names.prefix}{name}/", f"{scoped}/", of)
        try:
            # with the variables of the first time: an index of a loop around it has another value now
            inner = Scope(place.vars, scope.names, scope.block_input, scope.calls)
            return self.entry(Node(again, source.mark), inner, arriving.wires[0], arriving)
        finally:
            self.replaying = outer

    # --- blocks -----------------------------------------------------------------------------------------------------

    def block(self, parts: EntryParts, entry: Node, scope: Scope, arriving: Arriving, name: str) -> Wire:
        """Expand the layers of a block in a scope of its own, with its arguments as variables."""
        kind, full = parts.kind, scope.names.prefix + name
        if len(scope.calls) >= MAX_CALLS:
            chain = " -> ".join((*scope.calls[-3:], kind))
            message = f"blocks call each other more than {MAX_CALLS} deep: ... {chain}"
            self.fail(message, "Let it end: `when: ${depth > 0}`.", entry, full)
            raise TooLarge
        inputs = Names(f"{full}/", scope.names)
        arriving.into(Scope({}, inputs, arriving.wires[0]), self.blocks.map[kind].map.get("inputs", entry))
        args = self.arguments(kind, parts.options, scope, arriving.wires[0], inputs, full)
        layers = self.blocks.map[kind].map.get("layers")
        if args is None or layers is None:
            return self.broken(name, scope)
        names = scope.inside(name).names
        names.wires, names.marks, names.inputs = inputs.wires, inputs.marks, inputs.inputs
        key = self.repeats.key(kind, args, scope, arriving)
        y = self.repeats.again(key, names, arriving)
        if y is None:
            before = self.repeats.moment()
            inner = Scope({**self.placer.globals, **args}, names, arriving.wires[0], (*scope.calls, kind))
            with self.problems.within(entry.map.get(kind, entry).mark):
                y = self.run(layers, inner, arriving.wires[0])
            self.repeats.learn(key, before, names, arriving, y)
        self.close(name, entry, scope, y)
        return y

    def arguments(
        self, kind: str, options: Node, scope: Scope, x: Wire, inputs: Names, full: str
    ) -> dict[str, Any] | None:
        """Return the arguments of a block by name; None where one is missing, unknown or has a mistake."""
        declared = self.blocks.map[kind].map.get("args", Node({}, options.mark)).map
        passed = options.map
        if not options.is_map and options.value is not None:
            if not declared:
                message = f"the block `{kind}` takes no arguments, and is given {shown(options.plain())}"
                self.fail(message, f"Write `- {kind}`, or declare `args` in the block.", options, full)
                return None
            passed = {next(iter(declared)): options}
        unknown = [key for key in passed if key not in declared]
        for key in unknown:
            hint = did_you_mean(key, declared, "the arguments") or "It takes none."
            self.fail(f"the block `{kind}` has no argument `{key}`", hint, passed[key], f"{full}.{key}")
        on_error = self.read.error_callback(full)
        values: dict[str, Any] = {}
        broken = False
        for key, default in declared.items():
            if key in passed:
                value = resolve(passed[key], scope.variables(x), on_error, self.item_budget)
            else:
                # A default sees the inputs and the arguments before it, and no variables of the place of its use
                known = Variables(self.placer.globals | values, x, inputs)
                with self.problems.within(options.mark):
                    value = resolve(default, known, on_error, self.item_budget)
            values[key] = BROKEN if value.broken else value.plain()
            broken = broken or value.broken
        meant = closest_matches(unknown, declared) if unknown else set()
        missing = [key for key, value in values.items() if value is None and key not in {*passed, *meant}]
        for key in missing:
            self.fail(
                f"the block `{kind}` wants its argument `{key}`", f"Write `- {kind}: {{{key}: ...}}`.", options, full
            )
        return None if unknown or missing or broken else values


def _written_name(entry: Node) -> str:
    """Return the `name` of an entry as it is written; empty where it has none."""
    name = entry.map.get("name")
    return name.value if name is not None and isinstance(name.value, str) else ""


def _broken(name: str = "") -> Wire:
    """Return the output of a mistake: a wire without a shape."""
    return Wire(name, None)
