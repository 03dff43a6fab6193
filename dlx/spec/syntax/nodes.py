"""Values that know where they were written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from ...errors import Mark, Problem, SpecError, shortened

MAX_DEPTH = 100
MAX_VALUES = 200_000
OVERRIDE = ("override `", "option `", "argument `")
"""How the marks begin of what an override has set, or what stands for one."""
MAX_WHOLE = 10**300 - 1
"""The largest whole number: it has a float."""
SMALLEST = math.ulp(0.0)
"""The smallest float above 0."""


class Broken(Enum):
    """Takes the place of a value with a mistake that is already reported; what follows from it is not reported."""

    BROKEN = "(no value)"

    def __repr__(self) -> str:
        return self.value


BROKEN: Final = Broken.BROKEN


@dataclass(slots=True)
class OriginalItems:
    """Numbers and names of the items of a list before the first override: overrides refer to items by them."""

    names: dict[str, int]
    count: int
    remaining: list[int]
    """The original numbers of the items that no override has dropped, in order."""

    def copy(self) -> OriginalItems:
        return OriginalItems(self.names, self.count, list(self.remaining))

    def names_by_index(self) -> dict[int, str]:
        """Return the original name of each remaining item, or else its number, by its present index."""
        names = {number: name for name, number in self.names.items()}
        return {place: names.get(number, str(number)) for place, number in enumerate(self.remaining)}


@dataclass(slots=True)
class Node:
    """A value and its mark. Children of a mapping have the mark of their key."""

    value: bool | int | float | str | list[Node] | dict[str, Node] | Broken | None
    mark: Mark
    replaced: Node | None = None
    """The node that another file or an override replaced by this one."""
    original: OriginalItems | None = None
    """Of a list that overrides changed, its items before the first one."""

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def map(self) -> dict[str, Node]:
        """The children of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def list(self) -> list[Node]:
        """The items of a list; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def broken(self) -> bool:
        """Whether this value or one inside it has a mistake."""
        return any(node.value is BROKEN for node in self.walk())

    def plain(self) -> Any:
        """Return the value as plain mappings, lists and scalars, without marks."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def at(self, *keys: str | int) -> Node | None:
        """Return the node below, by keys and indices; None where there is none."""
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
        """Return a deep copy; nodes that several aliases share become nodes of their own."""
        if isinstance(self.value, dict):
            return Node({key: child.copy() for key, child in self.value.items()}, self.mark, self.replaced)
        if isinstance(self.value, list):
            original = self.original.copy() if self.original is not None else None
            return Node([child.copy() for child in self.value], self.mark, self.replaced, original)
        return Node(self.value, self.mark, self.replaced)

    def keys_to(self, node: Node) -> tuple[str | int, ...] | None:
        """Return the keys and indices that lead to `node`; None where it is not below."""
        if node is self:
            return ()
        for key, child in self.map.items() if self.is_map else enumerate(self.list):
            below = child.keys_to(node)
            if below is not None:
                return (key, *below)
        return None

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, parents first."""
        yield self
        for child in self.map.values() if self.is_map else self.list:
            yield from child.walk()


def located(value: Any, mark: Mark) -> Node:
    """Convert a plain value to nodes that all have `mark`."""
    if isinstance(value, dict):
        return Node({str(key): located(child, mark) for key, child in value.items()}, mark)
    if isinstance(value, list | tuple):
        return Node([located(child, mark) for child in value], mark)
    return Node(value, mark)


class Underflow(float):
    """The 0 that a number nearer to 0 than any float would become, with its text."""

    text: str

    def __new__(cls, text: str) -> Underflow:
        zero = super().__new__(cls, 0.0)
        zero.text = text
        return zero


def float_of(text: str) -> float:
    """Convert the digits of a number; an `Underflow` where they are not 0, and their float is."""
    value = float(text)
    fits = value or not any(digit in "123456789" for digit in re.split("[eE]", text)[0])
    return value if fits else Underflow(text)


def refuse_out_of_range(value: Any, mark: Mark, path: str = "") -> None:
    """Raise SpecError where a number, also inside a list or mapping, has more than 300 digits or would become 0."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            refuse_out_of_range(inner, mark, path)
    elif isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise SpecError(too_large_number(mark, path))
    elif isinstance(value, Underflow):
        raise SpecError(too_small_number(value, mark, path))


def too_large_number(mark: Mark, path: str = "") -> Problem:
    """Return the problem of a whole number with too many digits."""
    message = f"a whole number has at most {len(str(MAX_WHOLE))} digits, and this one has more"
    return Problem(message, "Write it with an exponent (1e30), or as a text in quotes.", mark, path)


def too_small_number(number: Underflow, mark: Mark, path: str = "") -> Problem:
    """Return the problem of a number that would become 0."""
    message = f"{shortened(number.text, 30)} is nearer to 0 than any number but 0 itself: the smallest is {SMALLEST}"
    return Problem(message, "Write 0, where that is meant.", mark, path)
