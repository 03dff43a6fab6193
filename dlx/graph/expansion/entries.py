"""Reading of one entry of a list of layers: its kind, its options, the keys beside them, and single values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from ...errors import Problem, did_you_mean
from ...layers import LAYERS
from ...other_names import kind_meant
from ...spec.expected_types import SWITCHES, of_switch
from ...spec.expressions import ExpressionError, evaluate
from ...spec.sections.reserved_names import OF_MODULES
from ...spec.syntax.read import BROKEN, Node, located
from ...spec.validation import ENTRY_KEYS, build, closest_matches, shown
from .problems import Problems
from .scope import Scope

FIELDS = {
    "residual": ("layers", "shortcut", "merge", "after"),
    "parallel": ("branches", "merge", "after"),
    "repeat": ("times", "layers", "index"),
}
LISTS = ("layers", "branches", "shortcut", "after")
"""Fields of structures that hold layers."""
TAKEN = ("prev", "input")
"""Words of `from` that are no names of nodes."""
STRUCTURES = ("residual", "parallel", "repeat", "for", "share", "layers")


@dataclass(frozen=True, slots=True)
class EntryParts:
    """The parts of an entry. `options` is the entry itself where it has `for` and `layers`."""

    kind: str
    options: Node
    modifiers: Mapping[str, Node]
    """The keys beside the kind: `name`, `from`, `when`, `values`, `tie`."""
    label: str
    """The name of the node in messages: its full name, as far as it is known before expressions are evaluated."""


class Reader:
    """Reads entries; mistakes are added to `problems`."""

    def __init__(self, problems: Problems, blocks: Node, path: str) -> None:
        self.problems, self.blocks, self.path = problems, blocks, path
        self._keys: dict[int, tuple[Node, dict[str, Node], list[str]]] = {}

    def fail(self, message: str, hint: str, node: Node, path: str) -> None:
        place = f"{self.path}.{path}".rstrip("./")
        self.problems.add(Problem(message, hint, node.mark, place))

    def is_known(self, kind: str) -> bool:
        return kind in STRUCTURES or kind in self.blocks.map or kind in LAYERS

    def parts(self, entry: Node, scope: Scope) -> EntryParts | None:
        """Split an entry into its parts; None where it has a mistake."""
        prefix = scope.names.prefix
        if isinstance(entry.value, str) and entry.value:
            named = self.kind(entry.value, Node(None, entry.mark), scope)
            return EntryParts(*named, {}, self.label(named[0], None, scope)) if named is not None else None
        modifiers, kinds = self.keys(entry)
        name = modifiers.get("name")
        if "for" in kinds and set(kinds) <= {"for", "layers", "index"}:
            return EntryParts("for", entry, modifiers, self.label("for", name, scope))
        if len(kinds) == 1 and kinds[0]:
            named = self.kind(kinds[0], entry.map[kinds[0]], scope)
            return EntryParts(*named, modifiers, self.label(named[0], name, scope)) if named is not None else None
        if len(kinds) > 1:
            self.several_kinds(kinds, entry, prefix)
        elif modifiers:
            names = " and ".join(f"`{key}`" for key in modifiers)
            self.fail("the entry names no layer", f"It has only {names}: add its kind, as in `relu:`.", entry, prefix)
        else:
            hint = "Write its kind (`- relu`) or `- kind: {options}`."
            self.fail(f"{shown(entry.plain())} is not a layer", hint, entry, prefix)
        return None

    def keys(self, entry: Node) -> tuple[dict[str, Node], list[str]]:
        """Split the keys of an entry into its modifiers, and those that can be its kind."""
        known = self._keys.get(id(entry))
        if known is None:
            modifiers = {key: node for key, node in entry.map.items() if key in ENTRY_KEYS}
            known = (entry, modifiers, [key for key in entry.map if key not in ENTRY_KEYS])
            # The entry is stored with its keys: once it were freed, another could have its id
            self._keys[id(entry)] = known
        return known[1:]

    def kind(self, text: str, options: Node, scope: Scope) -> tuple[str, Node] | None:
        """Return the kind of an entry and its options; an expression such as `${act}` may give one or both."""
        if "${" not in text:
            return text, options
        try:
            value = evaluate(text, scope.vars)
        except ExpressionError as error:
            self.fail(error.message, error.hint, options, scope.names.prefix)
            return None
        if isinstance(value, dict) and len(value) == 1 and options.value is None:
            ((text, fields),) = value.items()
            return str(text), located(fields, options.mark)
        if isinstance(value, str):
            return value, options
        self.fail(f"the kind of a layer must be a word, not {shown(value)}", "", options, scope.names.prefix)
        return None

    def several_kinds(self, kinds: list[str], entry: Node, prefix: str) -> None:
        """Report an entry of several kinds, or a field that is beside its layer and not inside."""
        structure = next((kind for kind in kinds if {kind, *FIELDS.get(kind, ())} >= set(kinds)), None)
        if structure is not None:
            self.field_outside(structure, [kind for kind in kinds if kind != structure], entry, prefix)
            return
        known = [kind for kind in kinds if self.is_known(kind)]
        unknown = [kind for kind in kinds if kind not in known]
        if len(known) == 1 and self.loose_names(unknown, entry, prefix):
            return
        if len(known) == 1:
            own = fields_of(known[0], entry.map[known[0]])
            inside = ", ".join([*own, f"{unknown[0]}: {_short_value(entry.map[unknown[0]])}"])
            hint = f"Fields of `{known[0]}` stand inside it: `- {known[0]}: {{{inside}}}`."
            self.fail(f"`{unknown[0]}` stands beside `{known[0]}`", hint, entry.map[unknown[0]], prefix)
            return
        names = " and ".join(f"`{kind}`" for kind in known or kinds)
        self.fail(f"{names} stand in one entry", "Give each a line of its own, starting with `- `.", entry, prefix)

    def loose_names(self, unknown: list[str], entry: Node, prefix: str) -> bool:
        """Whether names of `from` stand without brackets, `{concat: , from: a, b}`; reports it."""
        first = entry.map.get("from")
        if first is None or not isinstance(first.value, str) or any(entry.map[k].value is not None for k in unknown):
            return False
        names = " and ".join(f"`{key}`" for key in unknown)
        hint = f"Several names stand in brackets: `from: [{', '.join([first.value, *unknown])}]`."
        verb = "stands" if len(unknown) == 1 else "stand"
        self.fail(f"{names} {verb} beside `from`", hint, entry.map[unknown[0]], prefix)
        return True

    def kind_meant(self, kind: str) -> str:
        """Return the hint about an unknown kind; a colon may be missing behind a known one."""
        first, _, value = kind.partition(" ")
        if first == "for":
            return "A loop is `- for: {width: [64, 128]}` with `layers: [...]` on a line of its own below."
        if value and self.is_known(first):
            return f"Put a colon behind `{first}`: `- {first}: {value}`."
        return kind_meant(kind, [*LAYERS, *self.blocks.map, *STRUCTURES], "layer")

    def names_inside(self, kind: str, options: Node, full: str, scope: Scope) -> bool:
        """Whether names stand where the fields of a layer of several inputs do; reports it: `concat: [a, b]`."""
        words = [item.value for item in options.list or [options]]
        if LAYERS[kind].arity == 1 or not all(isinstance(word, str) and word.isidentifier() for word in words):
            return False
        known = any(word in TAKEN or scope.names.find(str(word)) is not None for word in words)
        if not known or build(LAYERS[kind], options, full, [], shorthand=True) is not None:
            return False  # words of a field: `masked_pool: mean`
        named = ", ".join(map(str, words)) + ("" if options.is_list else ", ...")
        message = f"`{kind}` wants its fields here, and is given names: {shown(options.plain())}"
        self.fail(message, f"Names stand beside it: `- {{{kind}: , from: [{named}]}}`.", options, full)
        return True

    def field_outside(self, structure: str, outside: list[str], entry: Node, prefix: str) -> None:
        """Report fields of a structure that are beside it: `- repeat: 5` with `layers` below."""
        hint = f"Its fields stand inside it: `- {structure_text(structure, entry.map[structure], outside)}`."
        names = " and ".join(f"`{key}`" for key in outside)
        verb = "stand" if len(outside) > 1 else "stands"
        self.fail(f"{names} {verb} beside `{structure}`", hint, entry.map[outside[0]], prefix)

    @staticmethod
    def label(kind: str, name: Node | None, scope: Scope) -> str:
        """Return the name of an entry in messages, before it is expanded."""
        if name is not None and isinstance(name.value, str) and name.value:
            return scope.names.prefix + name.value
        return scope.names.prefix + (kind if kind in STRUCTURES else scope.names.next(kind))

    def error_callback(self, path: str) -> Any:
        """Return a callback that reports expressions without a value."""

        def on_error(error: ExpressionError, node: Node) -> None:
            self.fail(error.message, error.hint, node, path)

        return on_error

    def value(
        self, node: Node, variables: Mapping[str, Any], kind: type, what: str, path: str, hint: str = ""
    ) -> Any:
        """Return the value of an expression or a constant; None where it is not of `kind`.

        `what` is the beginning of the message then: "`times` must be a whole number".
        """
        value = node.value
        if isinstance(value, str) and "${" in value:
            try:
                value = evaluate(value, variables)
            except ExpressionError as error:
                self.fail(error.message, error.hint, node, path)
                return None
        if kind is bool and isinstance(value, int | float):
            return bool(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            got = node.plain() if value is node.value else value
            if kind is bool and isinstance(value, str) and value.lower() in SWITCHES:
                hint = of_switch(value, str(node.value).strip("${ }") if value is not node.value else "")
            self.fail(f"{what}, not {shown(got)}", hint, node, path)
            return None
        return value

    def node_name(self, node: Node | None, variables: Mapping[str, Any], path: str) -> str:
        """Return the name that an entry has in the spec; empty where it has none, or an invalid one."""
        if node is None:
            return ""
        text = self.value(node, variables, str, "`name` must be a word", path)
        if text is None:
            return ""
        why = why_no_name(text)
        if why:
            self.fail(f"a node cannot be called `{text}`{why[0]}", why[1], node, path)
            return ""
        return str(text)

    def variable(self, text: str, node: Node, path: str) -> bool:
        """Whether a loop can give this name to a variable; reports it if not."""
        why = why_no_variable(text)
        if why:
            self.fail(f"a variable cannot be called `{text}`", why, node, path)
        return not why

    # --- fields of structures
    # ------------------------------------------------------------------------------------------

    def fields(self, kind: str, node: Node, scope: Scope, *required: str) -> Mapping[str, Node] | None:
        """Check the fields of a structure and return them; None where a required one is missing."""
        path = scope.names.prefix + kind
        if not node.is_map:
            hint = f"Write `{structure_text(kind, node)}`."
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

    def index(self, written: Node | None, at: Node, scope: Scope, path: str) -> str:
        """Return the variable that counts the turns of a loop, `i` by default; empty where its name is invalid."""
        node = written or Node("i", at.mark)
        name = self.value(node, scope.vars, str, "`index` must be a word", f"{path}.index")
        return str(name) if name is not None and self.variable(name, node, f"{path}.index") else ""

    def columns(self, lists: Node, entry: Node, path: str) -> Mapping[str, list[Node]] | None:
        """Check the lists of a `for` and return them by name, all of one length; None where there is a mistake."""
        hint = "Write `for: {width: [64, 128]}` and `layers: [...]` below it."
        if not lists.map or "layers" not in entry.map:
            if lists.value is not BROKEN:
                self.fail("`for` wants lists to walk, and `layers` beside it", hint, lists, path)
            return None
        valid = [self.variable(name, node, f"{path}.{name}") for name, node in lists.map.items()]
        for name, node in lists.map.items():
            if not node.is_list and node.value is not BROKEN:
                message = f"`{name}` must be a list, not {shown(node.plain())}"
                self.fail(message, hint, node, f"{path}.{name}")
        if not all(valid) or not all(node.is_list for node in lists.map.values()):
            return None
        columns = {name: node.list for name, node in lists.map.items()}
        if len({len(column) for column in columns.values()}) != 1:
            sizes = ", ".join(f"`{name}` has {len(column)}" for name, column in columns.items())
            self.fail(f"`for` walks lists in step: {sizes}", "Give them the same length.", lists, path)
            return None
        return columns


def structure_text(structure: str, options: Node, outside: Sequence[str] = ()) -> str:
    """Return a structure with all its fields inside, as a hint shows it."""
    inside = fields_of(structure, options, outside)
    inside += [f"{key}: {'[...]' if key in LISTS else '...'}" for key in outside]
    named = {text.partition(":")[0] for text in inside}
    body = "branches" if structure == "parallel" else "layers"
    first = ["times: 2"] if structure == "repeat" and "times" not in named else []
    last = [f"{body}: [...]"] if body not in named else []
    return f"{structure}: {{{', '.join([*first, *inside, *last])}}}"


def fields_of(kind: str, options: Node, outside: Sequence[str] = ()) -> list[str]:
    """Return the fields of an entry as texts `key: value`; for a single value the field that it sets."""
    if options.is_map:
        return [f"{key}: {_short_value(child)}" for key, child in options.map.items()]
    names = FIELDS.get(kind) or ([LAYERS[kind].first_field()] if kind in LAYERS else [])
    name = next((name for name in names if name is not None and name not in outside), None)
    return [] if options.value is None or name is None else [f"{name}: {_short_value(options)}"]


def _short_value(node: Node) -> str:
    """Return a value as a hint shows it: lists of layers as `[...]`, expressions in quotes."""
    if node.is_list and any(not isinstance(item.value, int | float) for item in node.list):
        return "[...]"
    if node.is_map:
        return "{...}"
    plain = isinstance(node.value, str) and "${" not in node.value
    return f"{node.value}" if plain else shown(node.plain())


def why_no_variable(text: str) -> str:
    """Return the hint where `text` cannot name a variable; else an empty text."""
    if text == "x":
        return "`x` is the shape that comes in."
    return "" if text.isidentifier() and not iskeyword(text) else "Letters, digits and `_`, not a digit first."


def why_no_name(text: str) -> tuple[str, str] | None:
    """Return the mistake in `text` as the name of a node or block, and the hint; None where it is valid."""
    if text in {"prev", "input"}:
        what = "stands above" if text == "prev" else "comes into the block or the network"
        return f": the word is for what {what}", "Add a letter."
    if iskeyword(text) or text in OF_MODULES:
        owner = "Python uses" if iskeyword(text) else "torch's modules use"
        return f": {owner} the word", "Add a letter."
    if not text.isidentifier() or text[0] == "_" or text == "x":
        return "", "`x` is the shape that comes in." if text == "x" else "Letters, digits and `_`, a letter first."
    return None
