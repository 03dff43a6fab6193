"""One entry of a list of layers, read: its kind, its options, what stands beside, and the single values in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from ...errors import Problem
from ...layers import LAYERS
from ...spec.expressions import ExpressionError, evaluate
from ...spec.sections.reserved_names import OF_MODULES
from ...spec.syntax.read import Node, located
from ...spec.validation import ENTRY_KEYS, shown
from .place import Problems
from .scope import Scope

FIELDS = {
    "residual": ("layers", "shortcut", "merge", "after"),
    "parallel": ("branches", "merge", "after"),
    "repeat": ("times", "layers", "index"),
}
LISTS = ("layers", "branches", "shortcut", "after")
"""Fields of structures that hold layers."""
STRUCTURES = ("residual", "parallel", "repeat", "for", "share", "layers")


@dataclass(frozen=True, slots=True)
class Parts:
    """An entry taken apart. `options` is the entry itself where `for` and `layers` stand side by side."""

    kind: str
    options: Node
    beside: Mapping[str, Node]
    label: str
    """What the node is called in messages: its full name as far as it is known before expressions are."""


class Reader:
    """Takes entries apart; every mistake goes to `problems`."""

    def __init__(self, problems: Problems, blocks: Node, path: str) -> None:
        self.problems, self.blocks, self.path = problems, blocks, path
        self._keys: dict[int, tuple[Node, dict[str, Node], list[str]]] = {}

    def fail(self, message: str, hint: str, node: Node, path: str) -> None:
        place = f"{self.path}.{path}".rstrip("./")
        self.problems.add(Problem(message, hint, node.mark, place))

    def is_known(self, kind: str) -> bool:
        return kind in STRUCTURES or kind in self.blocks.map or kind in LAYERS

    def parts(self, entry: Node, scope: Scope) -> Parts | None:
        """The parts of an entry; None where it is not one."""
        prefix = scope.names.prefix
        if isinstance(entry.value, str) and entry.value:
            named = self.kind(entry.value, Node(None, entry.mark), scope)
            return Parts(*named, {}, self.label(named[0], None, scope)) if named is not None else None
        beside, kinds = self.keys(entry)
        name = beside.get("name")
        if "for" in kinds and set(kinds) <= {"for", "layers", "index"}:
            return Parts("for", entry, beside, self.label("for", name, scope))
        if len(kinds) == 1 and kinds[0]:
            named = self.kind(kinds[0], entry.map[kinds[0]], scope)
            return Parts(*named, beside, self.label(named[0], name, scope)) if named is not None else None
        if len(kinds) > 1:
            self.several(kinds, entry, prefix)
        elif beside:
            given = " and ".join(f"`{key}`" for key in beside)
            self.fail("the entry names no layer", f"It has only {given}: add its kind, as in `relu:`.", entry, prefix)
        else:
            hint = "Write its kind (`- relu`) or `- kind: {options}`."
            self.fail(f"{shown(entry.plain())} is not a layer", hint, entry, prefix)
        return None

    def keys(self, entry: Node) -> tuple[dict[str, Node], list[str]]:
        """What stands beside the kind of an entry, and all that may be its kind."""
        known = self._keys.get(id(entry))
        if known is None:
            beside = {key: node for key, node in entry.map.items() if key in ENTRY_KEYS}
            known = (entry, beside, [key for key in entry.map if key not in ENTRY_KEYS])
            self._keys[id(entry)] = known  # with the entry, or its id would be another's
        return known[1:]

    def kind(self, text: str, options: Node, scope: Scope) -> tuple[str, Node] | None:
        """The kind of an entry and its options, where `${act}` may stand for one or both."""
        if "${" not in text:
            return text, options
        try:
            value = evaluate(text, scope.vars)
        except ExpressionError as error:
            self.fail(error.message, error.hint, options, scope.names.prefix)
            return None
        if isinstance(value, dict) and len(value) == 1 and options.value is None:
            ((text, given),) = value.items()
            return str(text), located(given, options.mark)
        if isinstance(value, str):
            return value, options
        self.fail(f"the kind of a layer must be a word, not {shown(value)}", "", options, scope.names.prefix)
        return None

    def several(self, kinds: list[str], entry: Node, prefix: str) -> None:
        """Two kinds in one entry, or a field that slipped out of its layer."""
        structure = next((kind for kind in kinds if {kind, *FIELDS.get(kind, ())} >= set(kinds)), None)
        if structure is not None:
            self.slipped(structure, [kind for kind in kinds if kind != structure], entry, prefix)
            return
        known = [kind for kind in kinds if self.is_known(kind)]
        odd = [kind for kind in kinds if kind not in known]
        if len(known) == 1:
            own = fields_of(known[0], entry.map[known[0]])
            inside = ", ".join([*own, f"{odd[0]}: {_bare(entry.map[odd[0]])}"])
            hint = f"Fields of `{known[0]}` stand inside it: `- {known[0]}: {{{inside}}}`."
            self.fail(f"`{odd[0]}` stands beside `{known[0]}`", hint, entry.map[odd[0]], prefix)
            return
        names = " and ".join(f"`{kind}`" for kind in known or kinds)
        self.fail(f"{names} stand in one entry", "Give each a line of its own, starting with `- `.", entry, prefix)

    def slipped(self, structure: str, beside: list[str], entry: Node, prefix: str) -> None:
        """Fields of a structure that stand beside it: `- repeat: 5` with `layers` below."""
        hint = f"Its fields stand inside it: `- {whole(structure, entry.map[structure], beside)}`."
        names = " and ".join(f"`{key}`" for key in beside)
        self.fail(f"{names} stand{'s' * (len(beside) == 1)} beside `{structure}`", hint, entry.map[beside[0]], prefix)

    @staticmethod
    def label(kind: str, name: Node | None, scope: Scope) -> str:
        if name is not None and isinstance(name.value, str) and name.value:
            return scope.names.prefix + name.value
        return scope.names.prefix + (kind if kind in STRUCTURES else scope.names.next(kind))

    def listener(self, path: str) -> Any:
        """Tells of expressions that have no value."""

        def told(error: ExpressionError, node: Node) -> None:
            self.fail(error.message, error.hint, node, path)

        return told

    def value(self, node: Node, variables: Mapping[str, Any], kind: type, what: str, path: str) -> Any:
        """The value of an expression or a constant; None where it is not of `kind`, as `what` says it must be."""
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
            self.fail(f"{what}, not {shown(got)}", "", node, path)
            return None
        return value

    def called(self, node: Node | None, variables: Mapping[str, Any], path: str) -> str:
        """What an entry calls itself; empty where it has no name, or none that can be."""
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
        """Whether a loop or a block can call a variable that."""
        why = why_no_variable(text)
        if why:
            self.fail(f"a variable cannot be called `{text}`", why, node, path)
        return not why


def whole(structure: str, given: Node, beside: Sequence[str] = ()) -> str:
    """A structure with its fields inside, as it is to be written."""
    inside = fields_of(structure, given, beside)
    inside += [f"{key}: {'[...]' if key in LISTS else '...'}" for key in beside]
    named = {text.partition(":")[0] for text in inside}
    body = "branches" if structure == "parallel" else "layers"
    first = ["times: 2"] if structure == "repeat" and "times" not in named else []
    last = [f"{body}: [...]"] if body not in named else []
    return f"{structure}: {{{', '.join([*first, *inside, *last])}}}"


def fields_of(kind: str, given: Node, beside: Sequence[str] = ()) -> list[str]:
    """The fields that an entry gives to its kind, each as it is written; of a bare value the field that it sets."""
    if given.is_map:
        return [f"{key}: {_bare(child)}" for key, child in given.map.items()]
    names = FIELDS.get(kind) or ([LAYERS[kind].first_field()] if kind in LAYERS else [])
    name = next((name for name in names if name is not None and name not in beside), None)
    return [] if given.value is None or name is None else [f"{name}: {_bare(given)}"]


def _bare(node: Node) -> str:
    """A value as a hint has it: lists of layers are left out, and expressions are quoted."""
    if node.is_list and any(not isinstance(item.value, int | float) for item in node.list):
        return "[...]"
    if node.is_map:
        return "{...}"
    plain = isinstance(node.value, str) and "${" not in node.value
    return f"{node.value}" if plain else shown(node.plain())


def why_no_variable(text: str) -> str:
    """The way out where `text` cannot name a variable."""
    if text == "x":
        return "`x` is the shape that comes in."
    return "" if text.isidentifier() and not iskeyword(text) else "Letters, digits and `_`, not a digit first."


def why_no_name(text: str) -> tuple[str, str] | None:
    """What is wrong with `text` as the name of a node or block, and the way out."""
    if text in {"prev", "input"}:
        what = "stands above" if text == "prev" else "comes into the block or the network"
        return f": the word is for what {what}", "Add a letter."
    if iskeyword(text) or text in OF_MODULES:
        owner = "Python uses" if iskeyword(text) else "torch's modules use"
        return f": {owner} the word", "Add a letter."
    if not text.isidentifier() or text[0] == "_" or text == "x":
        return "", "`x` is the shape that comes in." if text == "x" else "Letters, digits and `_`, a letter first."
    return None
