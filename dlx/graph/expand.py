"""The layers of a spec, walked once from top to bottom: blocks expand as the shapes reach them.

Structures (`residual`, `parallel`, `repeat`, `for`, `share`) are one method each; everything else is a layer or a
block. A mistake is told and the walk goes on: what hangs on it has no shape, and is not blamed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from ..errors import Problem, did_you_mean
from ..layers import LAYERS
from ..spec.expressions import ExpressionError, Unknown, evaluate, resolve
from ..spec.located import Node
from ..spec.validation import shown
from .graph import Wire
from .place import Placer
from .scope import Names, Scope, Variables

MAX_NODES = 50_000
MAX_ENTRIES = 500_000
MAX_CALLS = 64
BESIDE = ("name", "from", "when", "values", "tie")
"""Keys that may stand beside the kind of an entry."""
FIELDS = {
    "residual": ("layers", "shortcut", "merge", "after"),
    "parallel": ("branches", "merge", "after"),
    "repeat": ("times", "layers", "index"),
}
STRUCTURES = ("residual", "parallel", "repeat", "for", "share", "layers")


class TooLarge(Exception):
    """The expanded graph passes a limit: nothing more is worth saying."""


class Expander:
    """Walks entries; `placer` turns each layer into a node of the graph."""

    def __init__(self, placer: Placer, blocks: Node) -> None:
        self.placer, self.problems = placer, placer.problems
        self.entries = 0
        self.blocks = blocks
        self.sources: dict[str, tuple[Node, Scope]] = {}  # scopes by name: the entry of each and where it stood
        self.replaying = ""
        self._check_blocks()

    def fail(self, message: str, hint: str, node: Node, path: str) -> None:
        self.problems.add(Problem(message, hint, node.mark, f"network.layers.{path}" if path else "network.layers"))

    # --- entries ----------------------------------------------------------------------------------------------------

    def run(self, layers: Node, scope: Scope, x: Wire) -> Wire:
        """A list of entries, top to bottom; a single entry is a list of one."""
        items = layers.list if layers.is_list else [] if layers.value is None else [layers]
        for entry in items:
            x = self.entry(entry, scope, x)
        return x

    def entry(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        self.entries += 1
        if self.entries > MAX_ENTRIES or len(self.placer.nodes) > MAX_NODES:
            limit = f"{MAX_NODES:,} layers" if len(self.placer.nodes) > MAX_NODES else f"{MAX_ENTRIES:,} entries"
            self.fail(f"the network grows beyond {limit}", "Is a `repeat` too long?", entry, scope.names.prefix)
            raise TooLarge
        try:
            return self._entry(entry, scope, x)
        except Unknown:
            return Wire("", None, None, positions=False)

    def _entry(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        parts = self.parts(entry, scope)
        if parts is None:
            return _lost()
        kind, options, beside = parts
        wires = self.sources_of(beside.get("from"), scope, x, beside.get("name"))
        first = wires[0] if wires else _lost()
        variables = Variables(scope.vars, first)
        if "when" in beside and not self.value(beside["when"], variables, scope, bool):
            return x
        name = self.name(beside.get("name"), variables, scope)
        if kind in STRUCTURES or kind in self.blocks.map:
            return self.structure(kind, options, entry, scope, wires, name)
        return self.layer(kind, options, beside, entry, scope, wires, name)

    def parts(self, entry: Node, scope: Scope) -> tuple[str, Node, Mapping[str, Node]] | None:
        """An entry's kind, the node of its options (the entry itself where there are none), and what stands beside."""
        if isinstance(entry.value, str):
            word = self.value(entry, scope.vars, scope, str) if "${" in entry.value else entry.value
            return (word, Node(None, entry.mark), {}) if word else None
        if not entry.is_map or not entry.map:
            hint = "Write its kind (`- relu`) or `- kind: {options}`."
            self.fail(f"{shown(entry.plain())} is not a layer", hint, entry, scope.names.prefix)
            return None
        beside = {key: node for key, node in entry.map.items() if key in BESIDE}
        kinds = [key for key in entry.map if key not in BESIDE]
        if len(kinds) == 2 and set(kinds) == {"for", "layers"}:
            return "for", entry, beside
        if len(kinds) == 1:
            return kinds[0], entry.map[kinds[0]], beside
        if kinds:
            known = [k for k in kinds if self.is_known(k)]
            odd = [k for k in kinds if k not in known]
            if len(known) == 1:
                hint = f"Fields of `{known[0]}` stand inside it: `- {known[0]}: {{{odd[0]}: ...}}`."
                self.fail(f"`{odd[0]}` stands beside `{known[0]}`", hint, entry.map[odd[0]], scope.names.prefix)
            else:
                names = " and ".join(f"`{k}`" for k in kinds)
                hint = "Give each a line of its own, starting with `- `."
                self.fail(f"{names} stand in one entry", hint, entry, scope.names.prefix)
        else:
            self.fail("the entry names no layer", f"It has only {', '.join(beside)}.", entry, scope.names.prefix)
        return None

    def is_known(self, kind: str) -> bool:
        return kind in STRUCTURES or kind in self.blocks.map or kind in LAYERS

    def structure(
        self, kind: str, options: Node, entry: Node, scope: Scope, wires: list[Wire], name: str
    ) -> Wire:
        for key in ("values", "tie"):
            if key in entry.map:
                self.fail(f"`{key}` belongs to a layer, not to `{kind}`", "", entry.map[key], scope.names.prefix)
        if len(wires) != 1:
            if wires:
                hint = "Merge them first: `- concat` or `- add` with that `from`."
                self.fail(f"`{kind}` takes one input, and `from` names {len(wires)}", hint, entry, scope.names.prefix)
            return _lost()
        if kind in self.blocks.map:
            return self.block(kind, options, entry, scope, wires[0], name)
        if kind == "share":
            return self.share(options, entry, scope, wires[0], name)
        inner = scope.inside(name) if name else scope
        y: Wire = getattr(self, f"_{kind}")(options, inner, wires[0])
        if name:
            self.close(name, entry, scope, y)
        return y

    def close(self, name: str, entry: Node, scope: Scope, y: Wire) -> None:
        """A named scope is over: its name stands for what came out of it."""
        self.sources.setdefault(scope.names.prefix + name, (entry, scope))
        self.register(name, scope, y, entry)

    def layer(
        self,
        kind: str,
        options: Node,
        beside: Mapping[str, Node],
        entry: Node,
        scope: Scope,
        wires: list[Wire],
        name: str,
    ) -> Wire:
        local = name or scope.names.fresh(kind)
        full = scope.names.prefix + local
        y = _lost(full)
        if kind not in LAYERS:
            known = [*LAYERS, *self.blocks.map, *STRUCTURES]
            self.fail(f"there is no layer or block `{kind}`", did_you_mean(kind, known), _kind_mark(entry, kind), full)
        else:
            variables = Variables(scope.vars, wires[0] if wires else _lost())
            broken: list[Node] = []
            told = self.listener(full, broken)
            filled = resolve(options, variables, told)
            extras = {key: resolve(beside[key], variables, told) for key in ("values", "tie") if key in beside}
            place = _kind_mark(entry, kind)
            tied = self.placer.owner(extras.get("tie"), scope.names, full)
            owner, values = self.replayed(full), extras.get("values")
            if not broken:
                y = self.placer.place(kind, filled, place.mark, full, wires, values=values, tied=tied, owner=owner)
        self.register(local, scope, y, entry)
        return y

    def replayed(self, full: str) -> str:
        """While `share` replays a scope: the node whose weights this one runs."""
        if not self.replaying:
            return ""
        here, there = self.replaying.split("\n")
        return there + full.removeprefix(here) if full.startswith(here) else ""

    def register(self, local: str, scope: Scope, y: Wire, entry: Node) -> None:
        names = scope.names
        if local in names.wires and local in names.lines:
            line = names.lines[local]
            hint = "Inside a `repeat`, put the index into the name: ${i}." if line == entry.mark.line else "Rename one."
            self.fail(f"the name `{local}` is taken, on line {line}", hint, entry, names.prefix + local)
            return
        names.wires[local] = y
        names.lines[local] = entry.mark.line
        outer, inner = names.outer, local
        while outer is not None:  # reachable from outside as scope/node
            inner = names.prefix.removeprefix(outer.prefix) + local
            outer.wires.setdefault(inner, y)
            outer = outer.outer

    # --- what stands beside the kind --------------------------------------------------------------------------------

    def listener(self, path: str, broken: list[Node] | None = None) -> Any:
        """Tells of expressions without a value, and adds them to `broken`."""

        def told(error: ExpressionError, node: Node) -> None:
            if broken is not None:
                broken.append(node)
            self.fail(error.message, error.hint, node, path)

        return told

    def value(self, node: Node, variables: Mapping[str, Any], scope: Scope, kind: type) -> Any:
        """The value of an expression or a constant, of the type that is wanted; a falsy one where it is not."""
        path = scope.names.prefix
        value = node.value
        if isinstance(value, str) and "${" in value:
            try:
                value = evaluate(value, variables)
            except ExpressionError as error:
                self.fail(error.message, error.hint, node, path)
                return kind()
        if kind is bool and isinstance(value, int | float):
            return bool(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            wanted = {bool: "true or false", int: "a whole number", str: "a word", list: "a list"}[kind]
            self.fail(f"wants {wanted}, not {shown(value if not isinstance(value, list) else node.plain())}", "", node, path)
            return kind()
        return value

    def name(self, node: Node | None, variables: Variables, scope: Scope) -> str:
        if node is None:
            return ""
        text = self.value(node, variables, scope, str)
        if text and (not text.isidentifier() or text[0] == "_" or text in {"prev", "input", "x"}):
            self.fail(f"a node cannot be called `{text}`", "Letters, digits and `_`, a letter first.", node, text)
            return ""
        if text in RESERVED or iskeyword(text):
            owner = "Python uses" if iskeyword(text) else "torch's modules use"
            self.fail(f"a node cannot be called `{text}`: {owner} the word", "Add a letter.", node, text)
            return ""
        return str(text)

    def sources_of(self, node: Node | None, scope: Scope, x: Wire, name: Node | None) -> list[Wire]:
        """The wires that an entry takes: `from`, or what stands above it."""
        if node is None:
            return [x]
        refs = node.list if node.is_list else [node]
        wires = []
        for ref in refs:
            text = self.value(ref, Variables(scope.vars, x), scope, str)
            wire = x if text == "prev" else scope.came_in if text == "input" else scope.names.find(text)
            if wire is None and text:
                own = name.value if name is not None else None
                self.fail(*self.placer.unknown_source(text, own, scope.names), ref, scope.names.prefix + str(own or ""))
            wires.append(wire or _lost())
        if not refs:
            self.fail("`from` names nothing", "Name a node, or drop `from`.", node, scope.names.prefix)
        return wires

    # --- structures -------------------------------------------------------------------------------------------------

    def options(self, kind: str, node: Node, scope: Scope, required: str) -> Mapping[str, Node]:
        """The fields of a structure, checked."""
        path = scope.names.prefix + kind
        if not node.is_map:
            self.fail(f"`{kind}` wants a mapping", f"It has {', '.join(FIELDS[kind])}.", node, path)
            return {}
        for key, child in node.map.items():
            if key not in FIELDS[kind]:
                hint = did_you_mean(key, FIELDS[kind], "the fields")
                self.fail(f"`{kind}` has no field `{key}`", hint, child, f"{path}.{key}")
        if required not in node.map:
            self.fail(f"`{kind}` wants `{required}`", "", node, path)
        return node.map

    def _layers(self, options: Node, scope: Scope, x: Wire) -> Wire:
        return self.run(options, scope, x)

    def _residual(self, options: Node, scope: Scope, x: Wire) -> Wire:
        given = self.options("residual", options, scope, "layers")
        nothing = Node([], options.mark)
        main = self.run(given.get("layers", nothing), scope, x)
        short = self.run(given.get("shortcut", nothing), scope, x)
        return self.merged(given, "add", options, scope, [short, main])  # concat keeps what came first, as DenseNet

    def _parallel(self, options: Node, scope: Scope, x: Wire) -> Wire:
        given = self.options("parallel", options, scope, "branches")
        branches = given.get("branches", Node([], options.mark))
        if not branches.list:
            self.fail("`branches` is a list of lists of layers", "", branches, scope.names.prefix + "parallel")
            return _lost()
        ends = [self.run(branch, scope, x) for branch in branches.list]
        return self.merged(given, "concat", options, scope, ends)

    def merged(self, given: Mapping[str, Node], default: str, at: Node, scope: Scope, ends: list[Wire]) -> Wire:
        entry = given.get("merge", Node(default, at.mark))
        parts = self.parts(entry, scope)
        if parts is None:
            return _lost()
        kind, options, beside = parts
        y = ends[0]
        if len(ends) > 1:
            name = self.name(beside.get("name"), Variables(scope.vars, ends[0]), scope)
            y = self.layer(kind, options, beside, entry, scope, ends, name)
        return self.run(given["after"], scope, y) if "after" in given else y

    def _repeat(self, options: Node, scope: Scope, x: Wire) -> Wire:
        given = self.options("repeat", options, scope, "times")
        if "layers" not in given:
            self.fail("`repeat` wants `layers`", "", options, scope.names.prefix + "repeat")
            return _lost()
        if "times" not in given:
            return _lost()
        times = self.value(given["times"], Variables(scope.vars, x), scope, int)
        if times < 0 or times > MAX_ENTRIES:
            limit = f"at most {MAX_ENTRIES:,}" if times > 0 else "at least 0"
            self.fail(f"`times` must be {limit}, not {times:,}", "", given["times"], scope.names.prefix + "repeat")
            return _lost()
        index = self.value(given["index"], scope.vars, scope, str) if "index" in given else "i"
        for i in range(times):
            x = self.run(given["layers"], scope.with_vars({index: i}), x)
        return x

    def _for(self, entry: Node, scope: Scope, x: Wire) -> Wire:
        """`for: {width: [64, 128], depth: [2, 2]}` beside `layers`: the lists in step."""
        path = scope.names.prefix + "for"
        lists = resolve(entry.map["for"], Variables(scope.vars, x), self.listener(path))
        if not lists.map or "layers" not in entry.map:
            self.fail("`for` wants lists to walk, and `layers` beside it", "for: {width: [64, 128]}", entry.map["for"], path)
            return _lost()
        columns = {name: node.list for name, node in lists.map.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1 or not all(node.is_list for node in lists.map.values()):
            sizes = ", ".join(f"`{name}` has {n}" for name, n in lengths.items())
            self.fail(f"`for` walks lists in step: {sizes}", "Give them the same length.", entry.map["for"], path)
            return _lost()
        for i in range(next(iter(lengths.values()))):
            row = {name: column[i].plain() for name, column in columns.items()}
            x = self.run(entry.map["layers"], scope.with_vars({"i": i, **row}), x)
        return x

    def share(self, target: Node, entry: Node, scope: Scope, x: Wire, name: str) -> Wire:
        """Run the weights of an earlier node, or of every node of an earlier scope, once more."""
        text = self.value(target, Variables(scope.vars, x), scope, str)
        wire = scope.names.find(text) if text else None
        prefix = scope.names.prefix
        if wire is None:
            if text:
                own = entry.map["name"].value if "name" in entry.map else None
                self.fail(*self.placer.unknown_source(text, own, scope.names), target, prefix + str(own or "share"))
            return _lost()
        scoped = self.placer.full_name(text, scope.names, self.sources)
        if scoped in self.sources:
            return self.replay(scoped, scope, x, name)
        local = name or scope.names.fresh("share")
        y = self.placer.place_shared(wire.name, prefix + local, x, target.mark)
        self.register(local, scope, y, entry)
        return y

    def replay(self, scoped: str, scope: Scope, x: Wire, name: str) -> Wire:
        """Expand the entry behind a scope again; each of its nodes runs the weights of its counterpart."""
        source, place = self.sources[scoped]
        local = name or scope.names.fresh("share")
        written = source.map if source.is_map else {str(source.value): Node(None, source.mark)}
        again = {key: node for key, node in written.items() if key not in {"from", "name", "when"}}
        again["name"] = Node(local, source.mark)
        outer, self.replaying = self.replaying, f"{scope.names.prefix}{local}/\n{scoped}/"
        try:
            here = Scope(place.vars, scope.names, scope.came_in, scope.calls)
            return self._entry(Node(again, source.mark), here, x)
        finally:
            self.replaying = outer

    # --- blocks -----------------------------------------------------------------------------------------------------

    def _check_blocks(self) -> None:
        for name, block in self.blocks.map.items():
            path = f"blocks.{name}"
            if name in LAYERS or name in STRUCTURES:
                self.problems.add(Problem(f"the block `{name}` has the name of a layer", "Rename it.", block.mark, path))
            for key in block.map:
                if key not in {"args", "layers"}:
                    message = f"a block has no `{key}`"
                    self.problems.add(Problem(message, "It has args and layers.", block.map[key].mark, path))
            if "layers" not in block.map:
                self.problems.add(Problem(f"the block `{name}` has no `layers`", "", block.mark, path))

    def block(self, kind: str, options: Node, entry: Node, scope: Scope, x: Wire, name: str) -> Wire:
        """A block's own list of layers, in a scope of its own, with its arguments as variables."""
        local = name or scope.names.fresh(kind)
        full = scope.names.prefix + local
        if len(scope.calls) >= MAX_CALLS:
            chain = " -> ".join(scope.calls[-3:] + (kind,))
            self.fail(
                f"blocks call each other more than {MAX_CALLS} deep: ... {chain}",
                "Let it end: `when: ${depth > 0}`.",
                entry,
                full,
            )
            raise TooLarge
        args = self.arguments(kind, options, scope, x, full)
        if args is None:
            return _lost(full)
        inner = Scope({**self.placer.globals, **args}, Names(full + "/", scope.names), x, (*scope.calls, kind))
        y = self.run(self.blocks.map[kind].map.get("layers", Node([], entry.mark)), inner, x)
        self.close(local, entry, scope, y)
        return y

    def arguments(self, kind: str, options: Node, scope: Scope, x: Wire, full: str) -> dict[str, Any] | None:
        declared = self.blocks.map[kind].map.get("args", Node({}, options.mark)).map
        given = options.map
        if not options.is_map and options.value is not None:
            if not declared:
                self.fail(f"the block `{kind}` takes no arguments", "", options, full)
                return None
            given = {next(iter(declared)): options}
        unknown = [key for key in given if key not in declared]
        for key in unknown:
            hint = did_you_mean(key, declared, "the arguments")
            self.fail(f"the block `{kind}` has no argument `{key}`", hint, given[key], f"{full}.{key}")
        broken: list[Node] = []
        told = self.listener(full, broken)
        values: dict[str, Any] = {}
        for key, default in declared.items():
            if key in given:
                values[key] = resolve(given[key], Variables(scope.vars, x), told).plain()
            else:
                values[key] = resolve(default, Variables({**self.placer.globals, **values}, x), told).plain()
        if broken:
            return None
        absent = [key for key, value in values.items() if value is None and key not in given]
        for key in absent:
            self.fail(f"the block `{kind}` wants its argument `{key}`", "", options, full)
        return None if unknown or absent else values


def _lost(name: str = "") -> Wire:
    """What comes out of a mistake."""
    return Wire(name, None, None, positions=False)


def _kind_mark(entry: Node, kind: str) -> Node:
    """Where the kind of an entry stands."""
    return entry.map.get(kind, entry)


RESERVED = frozenset(
    "add_module add_submodule apply bfloat16 buffers call_super_init children compile cpu cuda "
    "delete_all_unused_submodules delete_submodule double dump_patches eval extra_repr float forward get_buffer "
    "get_extra_state get_parameter get_submodule half ipu load_state_dict meta modules mtia named_buffers "
    "named_children named_modules named_parameters parameters register_backward_hook register_buffer "
    "register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook "
    "register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter "
    "register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ self set_extra_state set_submodule "
    "shape_env share_memory state_dict to to_empty to_folder train training type xpu zero_grad T_destination code "
    "graph print_readable recompile".split()
)
"""Attributes of torch's modules, which submodules would hide."""
