"""Values that know where they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from ...errors import Mark, Problem, SpecError

MAX_DEPTH = 100
MAX_VALUES = 200_000
MAX_WHOLE = 10**300 - 1
"""The largest whole number: it has a float."""


class Broken(Enum):
    """Stands for a value that could not be worked out: that has been told, and what follows from it is not."""

    BROKEN = "(no value)"

    def __repr__(self) -> str:
        return self.value


BROKEN: Final = Broken.BROKEN


@dataclass(slots=True)
class OriginalItems:
    """Numbers and names of the items of a list for overrides, as they were before the first one."""

    names: dict[str, int]
    count: int
    remaining: list[int]
    """The numbers of the items that are still there."""

    def copy(self) -> OriginalItems:
        return OriginalItems(self.names, self.count, list(self.remaining))

    def names_by_index(self) -> dict[int, str]:
        """The name before any override of each remaining item, or else its number, by its index in the list."""
        names = {number: name for name, number in self.names.items()}
        return {place: names.get(number, str(number)) for place, number in enumerate(self.remaining)}


@dataclass(slots=True)
class Node:
    """A value and where it stands. Children of a mapping carry the mark of their key."""

    value: bool | int | float | str | list[Node] | dict[str, Node] | Broken | None
    mark: Mark
    replaced: Node | None = None
    """What stood here before another file or an override put this in its place."""
    original: OriginalItems | None = None
    """Of a list that overrides changed: what its items were called before."""

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def map(self) -> dict[str, Node]:
        """The children of a mapping; none for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def list(self) -> list[Node]:
        """The items of a list; none for anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def broken(self) -> bool:
        """Whether this or something in it could not be worked out."""
        return any(node.value is BROKEN for node in self.walk())

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def at(self, *keys: str | int) -> Node | None:
        """The node below, by keys and indices; None where there is none."""
        node: Node | None = self
        for key in keys:
            if node is None:
                return None
            if isinstance(node.value, dict):
                node = node.value.get(str(key))
            elif isinstance(node.value, list) and isinstance(key, int) and -len(node.value) <= key < len(node.value):
                node = node.value[key]
            else:
                return None
        return node

    def copy(self) -> Node:
        """A copy that shares nothing; what stood behind an alias becomes a value of its own."""
        if isinstance(self.value, dict):
            return Node({key: child.copy() for key, child in self.value.items()}, self.mark, self.replaced)
        if isinstance(self.value, list):
            original = self.original.copy() if self.original is not None else None
            return Node([child.copy() for child in self.value], self.mark, self.replaced, original)
        return Node(self.value, self.mark, self.replaced)

    def keys_to(self, node: Node) -> tuple[str | int, ...] | None:
        """The keys and indices that lead to `node`; None where it is not below."""
        if node is self:
            return ()
        for key, child in self.map.items() if self.is_map else enumerate(self.list):
            below = child.keys_to(node)
            if below is not None:
                return (key, *below)
        return None

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.map.values() if self.is_map else self.list:
            yield from child.walk()


def located(value: Any, mark: Mark) -> Node:
    """A plain value as a node, all of it written at `mark`."""
    if isinstance(value, dict):
        return Node({str(key): located(child, mark) for key, child in value.items()}, mark)
    if isinstance(value, list | tuple):
        return Node([located(child, mark) for child in value], mark)
    return Node(value, mark)


def refuse_too_large(value: Any, mark: Mark, path: str = "") -> None:
    """SpecError where a whole number, or one of those in a list or mapping, has more than 300 digits."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            refuse_too_large(inner, mark, path)
    elif isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise SpecError(too_large_number(mark, path))


def too_large_number(mark: Mark, path: str = "") -> Problem:
    """The sentence about a whole number that has too many digits."""
    message = f"a whole number has at most {len(str(MAX_WHOLE))} digits, and this one has more"
    return Problem(message, "Write it with an exponent (1e30), or as a text in quotes.", mark, path)
