"""Origin of a value: the file and line, the override or the default, and the values that it replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import Mark
from ..reference.vocabulary import type_text
from ..registry import Declared, Strict
from ..utils.passwords import masked
from .compose import compose
from .expressions import has_expression, resolve
from .overrides import apply
from .sections.experiment import Experiment
from .spec_keys import UNKNOWN, Keys, SpecKey, SpecKeys, is_bare
from .syntax.read import BROKEN, Node


@dataclass(frozen=True)
class WrittenValue:
    """A value as it is written at `key`."""

    key: str
    value: Any
    mark: Mark

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "value": self.value, "from": place_as_json(self.mark)}


@dataclass(frozen=True)
class ValueOrigin:
    """A value and its history. `mark` is None for a default, whose owner is `default_of`."""

    key: str
    value: Any
    kind: str = ""
    """Of a section that chooses a kind, the kind."""
    mark: Mark | None = None
    expression: str = ""
    """The expression that is written, where the value comes from one."""
    default_of: str = ""
    type: str = ""
    about: str = ""
    replaced: tuple[WrittenValue, ...] = ()
    """Newest first; with a shorter key where a section was replaced as a whole that did not have this value."""
    dropped: WrittenValue | None = None
    """The override that dropped the written value, with that value."""
    uses: tuple[WrittenValue, ...] = ()
    """Variables in the expression."""
    parts: tuple[ValueOrigin, ...] = ()
    """The values of a section."""

    def as_json(self) -> dict[str, Any]:
        value = None if self.value is UNKNOWN else self.value
        document = {"key": self.key, "value": value, "kind": self.kind or None, "expression": self.expression or None}
        document |= {"from": place_as_json(self.mark) if self.mark else None, "default_of": self.default_of or None}
        document |= {"type": self.type or None, "description": self.about or None}
        document |= {name: [one.as_json() for one in getattr(self, name)] for name in ("replaced", "uses", "parts")}
        return document | {"dropped_by": self.dropped.as_json() if self.dropped else None}


def place_as_json(mark: Mark) -> dict[str, Any]:
    """Return a file with line and column, or an override, for JSON."""
    if mark.line:
        return {"file": mark.file, "line": mark.line, "column": mark.column}
    found = re.fullmatch(r"override `(.*)`", mark.file, re.DOTALL)
    return {"override": found[1]} if found else {"file": mark.file}


def why(experiment: Experiment, key: str, changes: Sequence[str] = ()) -> ValueOrigin:
    """Find the origin of the value at `key`. `changes` are the overrides that `experiment` was loaded with.

    SpecError where the spec has no such key.
    """
    finder = OriginFinder(experiment, changes)
    return finder.with_parts(finder.find(key))


class OriginFinder(SpecKeys):
    """Look-up of the origins of the values of a valid spec."""

    def __init__(self, experiment: Experiment, changes: Sequence[str] = ()) -> None:
        super().__init__(experiment)
        self.changes = changes

    def with_parts(self, place: SpecKey) -> ValueOrigin:
        """Return the origin of the value at a place; of a section also those of the values in it."""
        leaves = list(self.leaves(place))
        parts = () if leaves == [place] else tuple(self.origin_of(leaf) for leaf in leaves)
        return replace(self.origin_of(place), parts=parts)

    def origin_of(self, place: SpecKey) -> ValueOrigin:
        """Return the origin of the value at a place, without those of its parts."""
        node, info = place.node, place.info
        written = node.plain() if node is not None else UNKNOWN
        value = self.value(place)
        found = ValueOrigin(
            key=place.key,
            value=value,
            kind=place.value.kind if place.is_choice else "",
            mark=node.mark if node is not None else None,
            expression=written if has_expression(written) else "",
            type=type_text(info.annotation) if info is not None and not place.is_choice else "",
            about=(info.description or "") if info is not None else "",
            uses=tuple(self.uses(place, written)),
        )
        if node is None:
            found = replace(found, default_of=place.owner or "the spec", dropped=self.dropped(place))
        elif place.owner.startswith("block "):
            found = replace(found, default_of=place.owner)
        return replace(found, replaced=tuple(self.history(place)))

    def value(self, place: SpecKey) -> Any:
        """Return the value in effect, expressions evaluated; UNKNOWN where an expression depends on the graph."""
        if place.value is not UNKNOWN:
            return (
                plain(place.value)
                if place.is_choice or not isinstance(place.value, Declared)
                else _fields(place.value)
            )
        assert place.node is not None
        if any(has_expression(n.value) and self.local(place.keys or ()) & _words(n.value) for n in place.node.walk()):
            return UNKNOWN if has_expression(place.node.value) else place.node.plain()
        found = resolve(place.node, self.experiment.vars, lambda *_: None)
        return (UNKNOWN if found.value is BROKEN else place.node.plain()) if found.broken else found.plain()

    def local(self, keys: Keys) -> set[str]:
        """Return the names that are local at a place: arguments of blocks, counters, and variables of `for`."""
        names = {"x"} if keys[:1] in {("network",), ("networks",), ("blocks",)} else set()
        for depth in range(1, len(keys) + 1):
            node = self.root.at(*keys[:depth])
            for inside in ("args", "for"):
                names |= set((node.map.get(inside) or Node({}, node.mark)).map) if node is not None else set()
            if keys[depth - 1] in {"repeat", "layers"}:
                names.add(str((node.at("index") if node is not None else None) or "i"))
        return names

    def uses(self, place: SpecKey, written: Any) -> Iterator[WrittenValue]:
        """Yield the variables of the spec that an expression uses."""
        if not has_expression(written):
            return
        own = self.local(place.keys or ())
        for name, node in (self.root.at("vars") or Node({}, self.root.mark)).map.items():
            if name in _words(written) - own:
                yield WrittenValue(f"vars.{name}", self.experiment.vars.get(name), node.mark)

    def history(self, place: SpecKey) -> Iterator[WrittenValue]:
        """Yield the values that a value replaced, newest first."""
        if place.keys is None:
            return
        for keys, node in _older(self.root, place.keys, place.first):
            key = place.key if keys == place.keys else ".".join(map(str, keys))
            yield WrittenValue(key, node.plain(), node.mark)

    def dropped(self, place: SpecKey) -> WrittenValue | None:
        """Return the override that dropped the value, with the value; None where none did."""
        if place.keys is None or not any(text.startswith("~") for text in self.changes):
            return None
        # Nodes do not record what was dropped: the overrides are applied once more, one by one.
        keys = _as_written(self.root, place.keys)
        root, found = compose(self.experiment.path), None
        for text in self.changes:
            before = _written_at(root, keys)
            root = apply(root, [text], self.experiment.path)
            if before is not None and _written_at(root, keys) is None:
                found = WrittenValue(masked(text), before.plain(), before.mark)
        return found


def _as_written(node: Node, keys: Keys) -> Keys:
    """Return keys with the indices that the items of lists had before any override."""
    indices: list[str | int] = []
    at: Node | None = node
    for key in keys:
        original = at.original if at is not None else None
        indices.append(original.remaining[key] if original is not None and isinstance(key, int) else key)
        at = at.at(key) if at is not None else None
    return tuple(indices)


def _written_at(node: Node, keys: Keys) -> Node | None:
    """Find the node at `keys`, whose indices count as before any override; None where it was dropped."""
    at: Node | None = node
    for key in keys:
        original = at.original if at is not None else None
        if original is not None and isinstance(key, int):
            if key not in original.remaining:
                return None
            key = original.remaining.index(key)  # noqa: PLW2901
        at = at.at(key) if at is not None else None
    return at


def _older(node: Node, keys: Keys, first: bool, done: int = 0) -> Iterator[tuple[Keys, Node]]:
    """Yield the nodes that were replaced at `keys`, newest first; or the section around, where it had no such key."""
    if done < len(keys):
        child = node.at(keys[done])
        if child is not None:
            yield from _older(child, keys, first, done + 1)
    older = node.replaced
    if older is None:
        return
    rest = keys[done:]
    value = older.at(*rest) if all(isinstance(key, str) for key in rest) else None
    if first and len(rest) == 1 and is_bare(older):
        value = older
    yield (keys, value) if value is not None else (keys[:done], older)
    yield from _older(older, keys, first, done)


def _words(text: Any) -> set[str]:
    """Return the identifiers in the expressions of a text."""
    return (
        set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"\$\{(.*?)\}", text))))
        if isinstance(text, str)
        else set()
    )


def _fields(made: Strict) -> dict[str, Any]:
    return {name: plain(getattr(made, name)) for name in type(made).model_fields}


def plain(value: Any) -> Any:
    """Convert a value to plain mappings, lists and scalars as a spec would write it, defaults included."""
    if isinstance(value, Declared):
        return {value.kind: _fields(value)} if type(value).model_fields else value.kind
    if isinstance(value, Strict):
        return _fields(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
