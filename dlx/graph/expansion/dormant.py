"""Entries that ran nowhere: those of blocks that nothing uses, and of a `when` that is false.

Their shapes are not known, but their words are: kinds, fields, names that they take, and variables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass, field

from ...errors import Problem, did_you_mean
from ...layers import LAYERS
from ...other_names import kind_meant
from ...spec.expressions import PIECE, ExpressionError, has_expression, names_in
from ...spec.syntax.read import Node
from ...spec.validation import ENTRY_KEYS
from .entries import FIELDS, LISTS, STRUCTURES, TAKEN
from .problems import Problems

NUMBERED = re.compile(r"\w+_\d+")


@dataclass
class Dormant:
    """Looks at the entries of lists of layers that are not among those that `ran`, by identity."""

    blocks: Node
    ran: Set[int]
    variables: Set[str]
    """Those of the spec, with the names of its inputs."""
    problems: Problems
    names: set[str] = field(default_factory=set)
    """All names that the spec writes, whatever their scope: nodes, inputs, arguments, indices of loops."""
    made: list[re.Pattern[str]] = field(default_factory=list)
    """Those with expressions in them."""

    def check(self, lists: Iterable[tuple[Node, str]]) -> None:
        """Add the mistakes of the entries of all blocks, and of these lists of layers, each with its path."""
        blocks = [(layers, f"blocks.{n}") for n, one in self.blocks.map.items() if (layers := one.at("layers"))]
        every = [*lists, *blocks]
        entries = [found for layers, path in every for found in _entries(layers, path)]
        asleep = [(entry, path) for entry, path in entries if id(entry) not in self.ran]
        if not asleep:
            return
        self.names |= self.variables | {*TAKEN, "x", "data", "i"}
        for block in self.blocks.map.values():
            for key in ("args", "inputs"):
                node = block.at(key)
                self.names |= {*node.map, *(str(item.value) for item in node.list)} if node is not None else set()
        for entry, _ in entries:
            self.names |= _names_of(entry)
        self.made = [_pattern(name) for name in self.names if "${" in name]
        self.names = {name for name in self.names if "${" not in name}
        for entry, path in asleep:
            self.entry(entry, path)

    def entry(self, entry: Node, path: str) -> None:
        """Add the mistakes in the words of one entry."""
        kinds = [entry.value] if isinstance(entry.value, str) else [k for k in entry.map if k not in ENTRY_KEYS]
        if "for" in kinds:
            kinds = ["for"]
        for kind in kinds:
            if len(kinds) == 1 and kind and "${" not in kind:
                self.kind(kind, entry.map.get(kind, entry), path)
        for text, at in _taken(entry):
            if not self.may_be(text.partition("/")[0].partition(".")[0]):
                hint = did_you_mean(text, self.names - {"x", "data", "i", ""})
                self.fail(f"there is no node `{text}`", hint, at, path)
        self.expressions(entry, path)

    def kind(self, kind: str, options: Node, path: str) -> None:
        """Add the mistake of a kind that is none, or of fields that it has not."""
        known: Collection[str]
        if kind in STRUCTURES:
            # those that are not in `FIELDS` have no fields, but names of any kind
            known, owner = FIELDS.get(kind, options.map), f"`{kind}` has no field"
        elif kind in LAYERS:
            known, owner = LAYERS[kind].model_fields, f"`{kind}` has no field"
        elif (block := self.blocks.at(kind)) is not None:
            known, owner = (block.at("args") or Node({}, block.mark)).map, f"the block `{kind}` has no argument"
        else:
            every = [*LAYERS, *self.blocks.map, *STRUCTURES]
            self.fail(f"there is no layer or block `{kind}`", kind_meant(kind, every, "layer"), options, path)
            return
        for key, child in options.map.items():
            if key not in known:
                self.fail(f"{owner} `{key}`", did_you_mean(key, known, "the fields"), child, path)

    def expressions(self, entry: Node, path: str) -> None:
        """Add the variables of its expressions that are none anywhere."""
        for node in _own(entry):
            if has_expression(node.value):
                try:
                    unknown = sorted(names_in(str(node.value)) - self.names)
                except ExpressionError as error:
                    self.fail(error.message, error.hint, node, path)
                    continue
                for name in unknown:
                    if not self.may_be(name):
                        hint = did_you_mean(name, self.names - {""})
                        self.fail(f"there is no variable `{name}` here", hint, node, path)

    def may_be(self, name: str) -> bool:
        """Whether a name is written somewhere, or may be a number or an expression in a name: `head_${h}`."""
        return name in self.names or NUMBERED.match(name) is not None or any(one.fullmatch(name) for one in self.made)

    def fail(self, message: str, hint: str, node: Node, path: str) -> None:
        if all(one.mark != node.mark for one in self.problems.found):  # what is told there may be why it did not run
            self.problems.add(Problem(message, hint, node.mark, path))


def _entries(layers: Node, path: str) -> Iterator[tuple[Node, str]]:
    """Yield the entries of a list of layers, and those inside them."""
    for entry in layers.list if layers.is_list else [layers]:
        yield entry, path
        for kind, options in entry.map.items():
            if kind == "layers" and options.is_list:
                yield from _entries(options, path)
            elif kind in STRUCTURES:
                for key, inner in options.map.items():
                    if key == "merge":
                        yield inner, path
                    elif key in LISTS:
                        lists = inner.list if key == "branches" and inner.is_list else [inner]
                        yield from (found for one in lists for found in _entries(one, path))


def _own(entry: Node) -> Iterator[Node]:
    """Yield the values of an entry without those of entries inside it."""
    for kind, node in entry.map.items():
        if kind == "layers" and node.is_list:
            continue
        if kind in STRUCTURES and node.is_map and kind != "for":
            yield from (below for key, one in node.map.items() if key not in LISTS for below in one.walk())
        else:
            yield from node.walk()


def _names_of(entry: Node) -> set[str]:
    """Return the names that an entry gives: to its node, and to the variables of a loop."""
    found = {str(name.value)} if (name := entry.at("name")) is not None else set()
    lists = entry.at("for")
    found |= {*lists.map} if lists is not None else set()
    for index in (entry.at("index"), entry.at("repeat", "index")):
        found |= {str(index.value)} if index is not None else set()
    source = entry.at("from")
    return found | ({*source.map} if source is not None else set())


def _taken(entry: Node) -> Iterator[tuple[str, Node]]:
    """Yield the names that an entry takes by `from`, `tie` and `share`, without expressions."""
    for key in ("from", "tie", "share"):
        if (node := entry.at(key)) is not None:
            for one in (node, *node.list, *node.map.values()):
                if isinstance(one.value, str) and one.value and "${" not in one.value:
                    yield one.value, one


def _pattern(name: str) -> re.Pattern[str]:
    """Return what matches the names that one with expressions may become."""
    return re.compile(".+".join(map(re.escape, PIECE.sub("\0", name).split("\0"))))
