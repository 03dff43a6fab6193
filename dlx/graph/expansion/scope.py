"""Names and variables at one place of a spec while it is expanded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import Mark
from ...spec.expressions import UnknownValue
from ...spec.syntax.read import Node
from ..graph import Wire
from .data_facts import NAME as DATA
from .data_facts import DataFacts


@dataclass(slots=True)
class Names:
    """The names of one scope: the wire of each, where it is written, and the number of nodes of each kind."""

    prefix: str = ""
    outer: Names | None = None
    wires: dict[str, Wire] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    inner: dict[str, Names] = field(default_factory=dict)
    """The scopes inside this one: `scope/node` names a node in one of them."""
    inputs: list[str] = field(default_factory=list)
    """The names that a block or scope gives to what comes in."""
    looks_out: bool = False
    """Whether something in this scope has looked for a name that is none of its own."""

    def fresh(self, kind: str) -> str:
        """Return the next free name of a kind (`conv_1`, `conv_2`, ...), and count it as used."""
        while True:
            self.counts[kind] = count = self.counts.get(kind, 0) + 1
            name = f"{kind}_{count}"
            if name not in self.wires:
                return name

    def next(self, kind: str) -> str:
        """Return the number that `fresh` tries first without counting it: the name of an entry in a message."""
        return f"{kind}_{self.counts.get(kind, 0) + 1}"

    def find(self, name: str) -> Wire | None:
        """Return the wire of a name in this scope or one around it; `block/node` is a name inside a scope."""
        *scopes, last = name.split("/")
        around: Names | None = self
        while around is not None:
            at: Names | None = around
            for step in scopes:
                at = at.inner.get(step) if at is not None else None
            if at is not None and last in at.wires:
                return at.wires[last]
            around.looks_out = True
            around = around.outer
        return None

    def is_input(self, name: str) -> bool:
        """Whether a name is an input of a block or scope: the nearest that has it counts."""
        at: Names | None = self
        while at is not None and name not in at.wires:
            at = at.outer
        return at is not None and name in at.inputs

    def visible(self) -> Iterator[str]:
        """Yield the names of this scope and of those around it."""
        scope: Names | None = self
        while scope is not None:
            yield from scope.wires
            scope = scope.outer


@dataclass(slots=True)
class Scope:
    """The context of an entry: its variables, its names, and the input of the block around it."""

    vars: Mapping[str, Any]
    names: Names
    block_input: Wire
    calls: tuple[str, ...] = ()
    """Blocks being expanded, outermost first."""

    def with_vars(self, more: Mapping[str, Any]) -> Scope:
        return Scope({**self.vars, **more}, self.names, self.block_input, self.calls)

    def variables(self, x: Wire) -> Variables:
        """Return the variables of an expression in an entry whose input is `x`."""
        return Variables(self.vars, x, self.names)

    def inside(self, name: str) -> Scope:
        """Return a new scope called `name` inside this one."""
        inner = Names(f"{self.names.prefix}{name}/", self.names)
        self.names.inner.setdefault(name, inner)
        return Scope(self.vars, inner, self.block_input, self.calls)


@dataclass(frozen=True, slots=True)
class Arriving:
    """The wires that an entry takes, with the names of its inputs where its `from` is a mapping."""

    wires: tuple[Wire, ...]
    names: tuple[str, ...] = ()
    node: Node | None = None
    """The `from` of the entry; None where it has none, and takes what stands above it."""

    @property
    def is_broken(self) -> bool:
        return any(wire.shape is None for wire in self.wires)

    def into(self, inner: Scope, at: Node) -> Scope:
        """Give the inputs of a block or scope their names inside it; `input` and `x` are the first of them."""
        for name, wire in zip(self.names, self.wires, strict=False):
            inner.names.wires[name] = wire
            inner.names.marks[name] = at.map[name].mark if name in at.map else at.mark
            inner.names.inputs.append(name)
        return Scope(inner.vars, inner.names, self.wires[0], inner.calls)


class Variables(Mapping[str, Any]):
    """The variables of an expression: those of the scope, `x` (the input shape), and shapes of nodes."""

    def __init__(self, known: Mapping[str, Any], wire: Wire, names: Names) -> None:
        self.known, self.wire, self.names = known, wire, names

    def __getitem__(self, name: str) -> Any:
        if name in self.known and not (name == DATA and self._is_hidden()):
            return self.known[name]
        wire = self.wire if name == "x" else self.names.find(name)
        if wire is None:
            raise KeyError(name)
        if wire.shape is None:
            raise UnknownValue
        return wire.shape

    def _is_hidden(self) -> bool:
        """Whether an input or node is called `data`, which comes before the facts of the data."""
        return isinstance(self.known[DATA], DataFacts) and self.names.find(DATA) is not None

    def __contains__(self, name: object) -> bool:
        return name == "x" or name in self.known or (isinstance(name, str) and self.names.find(name) is not None)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name, value in self.known.items() if not isinstance(value, DataFacts))
        yield "x"

    def __len__(self) -> int:
        return len(self.known) + 1
