"""The layers of a spec, walked once from top to bottom: blocks expand as the shapes reach them.

Structures (`residual`, `parallel`, `repeat`, `for`, `share`) are one method each; everything else is a layer or a
block. A mistake is told and the walk goes on: what hangs on it has no shape, and is not blamed again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import did_you_mean
from ...layers import LAYERS
from ...spec.expressions import ItemBudget, UnknownValue, resolve
from ...spec.syntax.read import BROKEN, Node
from ...spec.validation import MAX_PROBLEMS, closest_matches, shown
from ..graph import Wire
from .blocks import check_blocks
from .entries import FIELDS, STRUCTURES, Parts, Reader, whole
from .place import Placer
from .scope import Scope, Variables

MAX_LAYERS = 20_000
MAX_ENTRIES = 50_000
"""Entries and turns of a `repeat` or `for`: what is empty or left out costs time too."""
MAX_WORK = 600_000
MAX_CALLS = 64
MAX_NESTING = 120
"""Entries inside entries, those of blocks and shared scopes too."""


INSIDE = frozenset(("layers", "branches", "shortcut", "merge", "after"))
"""Fields that hold entries of their own."""


class TooLarge(Exception):  # noqa: N818 - no mistake of the walk: it has been told, and ends it
    """The expanded graph passes a limit: nothing more is worth saying."""


@dataclass
class Spent:
    """What the networks of a spec have used up of its limits."""

    entries: int = 0
    layers: int = 0
    work: int = 0
    over: bool = False
    """A limit was passed, and told: what is left is not walked."""


class Expander:
    """Walks entries; `placer` turns each layer into a node of the graph."""

    def __init__(self, placer: Placer, blocks: Node, spent: Spent) -> None:
        self.placer, self.problems, self.spent = placer, placer.problems, spent
        check_blocks(blocks, placer.problems)
        usable = {name: block for name, block in blocks.map.items() if name not in LAYERS and name not in STRUCTURES}
        self.blocks = Node(usable, blocks.mark)
        self.read = Reader(placer.problems, self.blocks, placer.path)
        self.fail = self.read.fail
        self.depth = 0
        self.costs: dict[int, tuple[Node, int]] = {}
        self.room = ItemBudget(1_000_000)
        self.sources: dict[str, tuple[Node, Scope]] = {}  # scopes by name: the entry of each and where it stood
        self.replaying: tuple[str, str] | None = None  # the scope that `share` fills, and the one it runs again

    # --- entries ----------------------------------------------------------------------------------------------------

    def run(self, layers: Node, scope: Scope, x: Wire) -> Wire:
        """A list of entries, top to bottom; a single entry is a list of one."""
        items = layers.list if layers.is_list else [] if layers.value is None else [layers]
        for entry in items:
            x = self.entry(entry, scope, x)
        return x

    def entry(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        self.spend(entry, scope)
        self.depth += 1
        try:
            return self._entry(entry, scope, x)
        except UnknownValue:
            return self.lose(_own_name(entry), scope)
        finally:
            self.depth -= 1

    def spend(self, at: Node, scope: Scope) -> None:
        """Count one more entry or turn; TooLarge where there are too many of them."""
        spent = self.spent
        spent.entries += 1
        spent.work += self.cost(at)
        hint = "Is a `repeat` too long, or does a block use itself?"
        if spent.layers > MAX_LAYERS:
            message = f"the network grows beyond {MAX_LAYERS:,} layers"
        elif spent.entries > MAX_ENTRIES:
            message = f"the network grows beyond {MAX_ENTRIES:,} entries and turns"
        elif self.depth > MAX_NESTING:
            message = f"layers are nested more than {MAX_NESTING} deep"
        elif spent.work > MAX_WORK:
            message = f"the entries that run hold more than {MAX_WORK:,} values in all"
        elif len(self.problems.found) >= MAX_PROBLEMS:
            message, hint = f"{MAX_PROBLEMS} mistakes so far: the rest was not looked at", ""
        else:
            return
        self.fail(message, hint, at, scope.names.prefix)
        raise TooLarge

    def cost(self, entry: Node) -> int:
        """How many values an entry holds besides the layers inside it, where long expressions count for more."""
        known = self.costs.get(id(entry))
        if known is None:
            own = [node for key, node in entry.map.items() if key not in INSIDE]
            own += (
                [node for kind in own for key, node in kind.map.items() if key not in INSIDE] if entry.is_map else []
            )
            values = [value for node in own if not node.map.keys() & INSIDE for value in node.walk()]
            lengths = [len(v.value) // 2 for v in values if isinstance(v.value, str) and "${" in v.value]
            known = (entry, len(values) + sum(lengths))  # kept alive, or its id would be another's
            self.costs[id(entry)] = known
        return known[1]

    def lose(self, local: str, scope: Scope) -> Wire:
        """What comes out of an entry that is wrong; its name is known, so that who takes it is not blamed."""
        wire = _lost(scope.names.prefix + local)
        if local:
            scope.names.wires.setdefault(local, wire)
        return wire

    def _entry(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        parts = self.read.parts(entry, scope)
        if parts is None:
            return self.lose(_own_name(entry), scope)
        when = parts.beside.get("when")
        early = when is not None and not re.search(r"\bx\b", str(when.value))  # it does not ask for what comes in
        if early and not (answer := self.when(parts, scope.variables(x))):
            return x if answer is False else self.lose(_own_name(entry), scope)
        wires = self.sources_of(parts, scope, x)
        variables = scope.variables(wires[0])
        if when is not None and not early and not (answer := self.when(parts, variables)):
            return x if answer is False else self.lose(_own_name(entry), scope)
        name = self.read.called(parts.beside.get("name"), variables, parts.label)
        if parts.kind in STRUCTURES or parts.kind in self.blocks.map:
            return self.structure(parts, entry, scope, wires, name)
        return self.layer(parts, entry, scope, wires, name)

    def when(self, parts: Parts, variables: Variables) -> bool | None:
        """Whether an entry runs; None where that cannot be worked out."""
        what = "`when` must be true or false"
        answer: bool | None = self.read.value(parts.beside["when"], variables, bool, what, parts.label)
        return answer

    def structure(self, parts: Parts, entry: Node, scope: Scope, wires: list[Wire], name: str) -> Wire:
        kind = parts.kind
        for key in ("values", "tie"):
            if key in parts.beside:
                hint = "Put it beside the layer that it is for."
                self.fail(f"`{key}` belongs to a layer, not to `{kind}`", hint, parts.beside[key], parts.label)
        if len(wires) != 1:
            hint = "Merge them first: `- concat` or `- add` with that `from`."
            self.fail(f"`{kind}` takes one input, and `from` names {len(wires)}", hint, entry, parts.label)
            return self.lose(name, scope)
        if kind in self.blocks.map:
            return self.block(parts, entry, scope, wires[0], name or scope.names.fresh(kind))
        if kind == "share":
            return self.share(parts, entry, scope, wires[0], name or scope.names.fresh(kind))
        inner = scope.inside(name) if name else scope
        y: Wire = getattr(self, f"_{kind}")(parts.options, inner, wires[0])
        if name:
            self.close(name, entry, scope, y)
        return y

    def close(self, name: str, entry: Node, scope: Scope, y: Wire) -> None:
        """A named scope is over: its name stands for what came out of it."""
        self.sources.setdefault(scope.names.prefix + name, (entry, scope))
        self.register(name, scope, y, entry)

    def layer(self, parts: Parts, entry: Node, scope: Scope, wires: list[Wire], name: str) -> Wire:
        kind = parts.kind
        self.spent.layers += 1
        local = name or scope.names.fresh(kind)
        full = scope.names.prefix + local
        place = entry.map.get(kind, entry)
        if kind not in LAYERS:
            y = _lost(full)
            known = [*LAYERS, *self.blocks.map, *STRUCTURES]
            self.fail(f"there is no layer or block `{kind}`", did_you_mean(kind, known), place, full)
        else:
            variables, told = scope.variables(wires[0]), self.read.listener(full)
            options = resolve(parts.options, variables, told, self.room)
            values, tie = (
                resolve(parts.beside[key], variables, told, self.room) if key in parts.beside else None
                for key in ("values", "tie")
            )
            tied = self.placer.owner(tie, scope.names, full)
            y = self.placer.place(
                kind, options, place.mark, full, wires, values=values, tied=tied, owner=self.replayed(full)
            )
        self.register(local, scope, y, entry)
        return y

    def replayed(self, full: str) -> str:
        """While `share` replays a scope: the node whose weights this one runs."""
        if self.replaying is None:
            return ""
        here, there = self.replaying
        return there + full.removeprefix(here) if full.startswith(here) else ""

    def register(self, local: str, scope: Scope, y: Wire, entry: Node) -> None:
        names = scope.names
        if local in names.wires and local in names.lines:
            line = names.lines[local]
            hint = (
                "Inside a `repeat`, put the index into the name: ${i}." if line == entry.mark.line else "Rename one."
            )
            self.fail(f"the name `{local}` is taken, on line {line}", hint, entry, names.prefix + local)
            return
        names.wires[local] = y
        names.lines[local] = entry.mark.line

    def sources_of(self, parts: Parts, scope: Scope, x: Wire) -> list[Wire]:
        """The wires that an entry takes: `from`, or what stands above it."""
        node = parts.beside.get("from")
        if node is None:
            return [x]
        refs = node.list if node.is_list else [node]
        if not refs:
            self.fail("`from` names nothing", "Name a node, or drop `from`.", node, parts.label)
            return [_lost()]
        return [_lost() if self.problems.full else self.source(ref, parts.label, scope, x) for ref in refs]

    def source(self, ref: Node, label: str, scope: Scope, x: Wire) -> Wire:
        what = "`from` must be the name of a node, or a list of them"
        text = self.read.value(ref, scope.variables(x), str, what, label)
        if text is None:
            return _lost()
        wire = x if text == "prev" else scope.came_in if text == "input" else scope.names.find(text)
        if wire is None:
            own = label.removeprefix(scope.names.prefix)
            self.fail(*self.placer.unknown_source(text, own, scope.names, ref.mark), ref, label)
        return wire or _lost()

    # --- structures -------------------------------------------------------------------------------------------------

    def options(self, kind: str, node: Node, scope: Scope, *required: str) -> Mapping[str, Node] | None:
        """The fields of a structure, checked; None where one that it cannot do without is missing."""
        path = scope.names.prefix + kind
        if not node.is_map:
            hint = f"Write `{whole(kind, node)}`."
            self.fail(f"`{kind}` must be a mapping, not {shown(node.plain())}", hint, node, path)
            return None
        for key, child in node.map.items():
            if key not in FIELDS[kind]:
                hint = did_you_mean(key, FIELDS[kind], "the fields")
                self.fail(f"`{kind}` has no field `{key}`", hint, child, f"{path}.{key}")
        meant = closest_matches((key for key in node.map if key not in FIELDS[kind]), FIELDS[kind])
        for key in required:
            if key not in node.map and key not in meant:
                self.fail(f"`{kind}` wants `{key}`", did_you_mean("", FIELDS[kind], "the fields"), node, path)
        return node.map if all(key in node.map for key in required) else None

    def _layers(self, options: Node, scope: Scope, x: Wire) -> Wire:
        return self.run(options, scope, x)

    def _residual(self, options: Node, scope: Scope, x: Wire) -> Wire:
        given = self.options("residual", options, scope, "layers")
        if given is None:
            return _lost()
        main = self.run(given["layers"], scope, x)
        short = self.run(given.get("shortcut", Node([], options.mark)), scope, x)
        return self.merged(given, "add", options, scope, [short, main])  # concat keeps what came first, as DenseNet

    def _parallel(self, options: Node, scope: Scope, x: Wire) -> Wire:
        given = self.options("parallel", options, scope, "branches")
        if given is None:
            return _lost()
        branches = given["branches"]
        if not branches.list:
            message = f"`branches` must be a list of lists of layers, not {shown(branches.plain())}"
            hint = "Write `branches: [[relu], [tanh]]`."
            self.fail(message, hint, branches, scope.names.prefix + "parallel.branches")
            return _lost()
        ends = [self.run(branch, scope, x) for branch in branches.list]
        return self.merged(given, "concat", options, scope, ends)

    def merged(self, given: Mapping[str, Node], default: str, at: Node, scope: Scope, ends: list[Wire]) -> Wire:
        entry = given.get("merge", Node(default, at.mark))
        parts = self.read.parts(entry, scope)
        if parts is None:
            return _lost()
        y = ends[0]
        if len(ends) > 1:
            name = self.read.called(parts.beside.get("name"), scope.variables(y), parts.label)
            y = self.layer(parts, entry, scope, ends, name)
        return self.run(given["after"], scope, y) if "after" in given else y

    def _repeat(self, options: Node, scope: Scope, x: Wire) -> Wire:
        path = scope.names.prefix + "repeat"
        given = self.options("repeat", options, scope, "times", "layers")
        if given is None:
            return _lost()
        times = self.read.value(
            given["times"], scope.variables(x), int, "`times` must be a whole number", f"{path}.times"
        )
        if times is None:
            return _lost()
        if not 0 <= times <= MAX_ENTRIES:
            limit = f"at most {MAX_ENTRIES:,}" if times > 0 else "at least 0"
            self.fail(f"`times` must be {limit}, not {times:,}", "", given["times"], f"{path}.times")
            return _lost()
        name = self.index(given.get("index"), options, scope, path)
        if not name:
            return _lost()
        for i in range(times):
            self.spend(given["times"], scope)
            x = self.run(given["layers"], scope.with_vars({name: i}), x)
        return x

    def index(self, given: Node | None, at: Node, scope: Scope, path: str) -> str:
        """What the counter of a loop is called; empty where that is no name."""
        node = given or Node("i", at.mark)
        name = self.read.value(node, scope.vars, str, "`index` must be a word", f"{path}.index")
        return str(name) if name is not None and self.read.variable(name, node, f"{path}.index") else ""

    def _for(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        """`for: {width: [64, 128], depth: [2, 2]}` beside `layers`: the lists in step."""
        path = scope.names.prefix + "for"
        given = entry.map.get("for", Node(None, entry.mark))
        lists = resolve(given, scope.variables(x), self.read.listener(path), self.room)
        columns = self.columns(lists, entry, path)
        index = self.index(entry.map.get("index"), entry, scope, path)
        if columns is None or not index:
            return _lost()
        for i in range(len(next(iter(columns.values())))):
            self.spend(given, scope)
            row = {name: column[i].plain() for name, column in columns.items()}
            x = self.run(entry.map["layers"], scope.with_vars({index: i, **row}), x)
        return x

    def columns(self, lists: Node, entry: Node, path: str) -> Mapping[str, list[Node]] | None:
        """The lists of a `for` by their names, all of one length."""
        hint = "Write `for: {width: [64, 128]}` and `layers: [...]` below it."
        if not lists.map or "layers" not in entry.map:
            if lists.value is not BROKEN:
                self.fail("`for` wants lists to walk, and `layers` beside it", hint, lists, path)
            return None
        right = [self.read.variable(name, node, f"{path}.{name}") for name, node in lists.map.items()]
        for name, node in lists.map.items():
            if not node.is_list and node.value is not BROKEN:
                message = f"`{name}` must be a list, not {shown(node.plain())}"
                self.fail(message, hint, node, f"{path}.{name}")
        if not all(right) or not all(node.is_list for node in lists.map.values()):
            return None
        columns = {name: node.list for name, node in lists.map.items()}
        if len({len(column) for column in columns.values()}) != 1:
            sizes = ", ".join(f"`{name}` has {len(column)}" for name, column in columns.items())
            self.fail(f"`for` walks lists in step: {sizes}", "Give them the same length.", lists, path)
            return None
        return columns

    def share(self, parts: Parts, entry: Node, scope: Scope, x: Wire, name: str) -> Wire:
        """Run the weights of an earlier node, or of every node of an earlier scope, once more."""
        what = "`share` must be the name of a node"
        target, label = parts.options, scope.names.prefix + name
        text = self.read.value(target, scope.variables(x), str, what, label)
        if text is None:
            return self.lose(name, scope)
        wire = scope.names.find(text)
        scoped = self.placer.full_name(text, scope.names, self.sources)
        if scoped in self.sources:
            return self.replay(scoped, scope, x, name)
        if wire is None or self.placer.is_input(wire):
            self.fail(*self.placer.not_shared(text, name, scope.names, target.mark), target, label)
            return self.lose(name, scope)
        y = self.placer.place_shared(wire.name, label, x, target.mark)
        self.register(name, scope, y, entry)
        return y

    def replay(self, scoped: str, scope: Scope, x: Wire, name: str) -> Wire:
        """Expand the entry behind a scope again; each of its nodes runs the weights of its counterpart."""
        source, place = self.sources[scoped]
        written = source.map if source.is_map else {str(source.value): Node(None, source.mark)}
        again = {key: node for key, node in written.items() if key not in {"from", "name", "when"}}
        again["name"] = Node(name, source.mark)
        outer, self.replaying = self.replaying, (f"{scope.names.prefix}{name}/", f"{scoped}/")
        try:
            here = Scope(place.vars, scope.names, scope.came_in, scope.calls)
            return self.entry(Node(again, source.mark), here, x)
        finally:
            self.replaying = outer

    # --- blocks -----------------------------------------------------------------------------------------------------

    def block(self, parts: Parts, entry: Node, scope: Scope, x: Wire, name: str) -> Wire:
        """A block's own list of layers, in a scope of its own, with its arguments as variables."""
        kind, full = parts.kind, scope.names.prefix + name
        if len(scope.calls) >= MAX_CALLS:
            chain = " -> ".join((*scope.calls[-3:], kind))
            message = f"blocks call each other more than {MAX_CALLS} deep: ... {chain}"
            self.fail(message, "Let it end: `when: ${depth > 0}`.", entry, full)
            raise TooLarge
        args = self.arguments(kind, parts.options, scope, x, full)
        layers = self.blocks.map[kind].map.get("layers")
        if args is None or layers is None:
            return self.lose(name, scope)
        names = scope.inside(name).names
        inner = Scope({**self.placer.globals, **args}, names, x, (*scope.calls, kind))
        y = self.run(layers, inner, x)
        self.close(name, entry, scope, y)
        return y

    def arguments(self, kind: str, options: Node, scope: Scope, x: Wire, full: str) -> dict[str, Any] | None:
        """The variables of a block; None where an argument is missing, unknown or without a value."""
        declared = self.blocks.map[kind].map.get("args", Node({}, options.mark)).map
        given = options.map
        if not options.is_map and options.value is not None:
            if not declared:
                message = f"the block `{kind}` takes no arguments, and is given {shown(options.plain())}"
                self.fail(message, f"Write `- {kind}`, or declare `args` in the block.", options, full)
                return None
            given = {next(iter(declared)): options}
        unknown = [key for key in given if key not in declared]
        for key in unknown:
            hint = did_you_mean(key, declared, "the arguments") or "It takes none."
            self.fail(f"the block `{kind}` has no argument `{key}`", hint, given[key], f"{full}.{key}")
        told = self.read.listener(full)
        values: dict[str, Any] = {}
        broken = False
        for key, default in declared.items():
            known = scope.vars if key in given else self.placer.globals | values
            value = resolve(given.get(key, default), Variables(known, x, scope.names), told, self.room)
            values[key] = BROKEN if value.broken else value.plain()
            broken = broken or value.broken
        meant = closest_matches(unknown, declared) if unknown else set()
        absent = [key for key, value in values.items() if value is None and key not in {*given, *meant}]
        for key in absent:
            self.fail(
                f"the block `{kind}` wants its argument `{key}`", f"Write `- {kind}: {{{key}: ...}}`.", options, full
            )
        return None if unknown or absent or broken else values


def _own_name(entry: Node) -> str:
    """The name that an entry gives itself in plain letters."""
    name = entry.map.get("name")
    return name.value if name is not None and isinstance(name.value, str) else ""


def _lost(name: str = "") -> Wire:
    """What comes out of a mistake."""
    return Wire(name, None)
