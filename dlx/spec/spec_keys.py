"""The keys of a valid spec: the node written at each, its parsed value, and its children."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic.fields import FieldInfo

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..layers import LAYERS
from ..registry import Declared, Strict
from .overrides import STAGES, entry_names, kind_of_entry
from .section_names import SECTIONS
from .sections import kinds
from .sections.experiment import Experiment
from .sections.networks import BY_NETWORK, ONE
from .sections.train import Train
from .syntax.read import BROKEN, Node
from .validation import ENTRY_KEYS, choice_of

Keys = tuple[str | int, ...]
UNKNOWN: Any = BROKEN
"""Takes the place of a value that is known only in the graph, as an expression of a shape."""


@dataclass(frozen=True)
class SpecKey:
    """A key of a spec: the node that is written there, and the value that was parsed from it."""

    key: str = ""
    keys: Keys | None = ()
    """Keys and indices in the tree of nodes; None where nothing could be written."""
    node: Node | None = None
    value: Any = UNKNOWN
    is_choice: bool = False
    """Whether `value` was chosen by kind, so that its kind is the next key."""
    info: FieldInfo | None = None
    owner: str = ""
    """The kind or section that it is a field of."""
    first: bool = False
    """Whether it is the field that a bare value sets."""
    beside: Mapping[str, Node] = field(default_factory=dict)
    """Keys beside the kind of an entry: `name`, `from`, ..."""

    def child(self, name: str, step: str | int | None = None, **more: Any) -> SpecKey:
        """Return a key below this one; `step` is its key or index in the tree, where that is not its name."""
        keys = None if self.keys is None else (*self.keys, name if step is None else step)
        return SpecKey(f"{self.key}.{name}" if self.key else name, keys, **more)


class SpecKeys:
    """Look-up of keys in a valid spec, as overrides write them."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.root = experiment, experiment.written
        experiment.use_plugins()

    def find(self, key: str, start: SpecKey | None = None) -> SpecKey:
        """Find a key below `start` or in the whole spec. SpecError where there is none."""
        place, rest = start or SpecKey(node=self.root), key
        while rest:
            below = self.children(place)
            named = [name for name in below if name and (rest == name or rest.startswith((f"{name}.", f"{name}/")))]
            if not named:
                raise self.unknown(place, rest, below)
            # A key may itself have a dot or a slash, as `test/error` or `stem/conv_1`: the longest match is meant.
            name = max(named, key=len)
            place, rest = below[name], rest[len(name) + 1 :]
        return place

    def unknown(self, place: SpecKey, rest: str, below: Mapping[str, SpecKey]) -> SpecError:
        """Return the error that `rest` is no key below `place`, with the nearest keys as its hint."""
        word = re.split(r"[./]", rest)[0]
        key = f"{place.key}.{rest}" if place.key else rest
        mark = Mark(str(self.experiment.path))
        if "=" in rest:
            hint = "The key comes first: dlx why SPEC KEY [KEY=VALUE ...]."
            return SpecError(Problem("sets a value, where the name of one is wanted", hint, mark, key))
        if not below:
            what = f"`{place.key}` is a single value and has nothing below it"
            return SpecError(Problem(what, f"Ask for `{place.key}`.", mark, key))
        last = re.split(r"[./]", rest)[-1]
        deeper = [p.key for p in self.leaves(place) if p.key.endswith(f".{last}")]
        deeper = [f"`{found}`" for found in deeper if found != key][:2]
        hint = f"Did you mean {' or '.join(deeper)}?" if deeper and word not in below else ""
        if not place.key and word in SECTIONS:
            hint = "It may have one, and leaves it out."
        if place.node is not None and place.node.is_list and word.isdigit():
            count = place.node.original.count if place.node.original is not None else len(place.node.list)
            hint = f"Its items are 0 to {count - 1}."
        has = f"`{place.key}` has no" if place.key else "the spec has no"
        return SpecError(
            Problem(f"{has} `{word}`", hint or did_you_mean(word, self.names(below), "the keys"), mark, key)
        )

    @staticmethod
    def names(below: Mapping[str, SpecKey]) -> list[str]:
        """Return names for a hint: those of children, and the number of an item only where it has no name."""
        places = {id(place) for name, place in below.items() if not name.isdigit()}
        return [name for name, place in below.items() if not name.isdigit() or id(place) not in places]

    def children(self, place: SpecKey) -> dict[str, SpecKey]:
        """Return the keys directly below a place by name; items of lists are there by number and by name."""
        if place.keys == ():
            return self.sections(place)
        if isinstance(place.value, Declared) and place.is_choice:
            node = place.node.map.get(place.value.kind) if place.node is not None else None
            return {place.value.kind: place.child(place.value.kind, node=node, value=place.value)}
        if isinstance(place.value, Strict):
            return self.fields(place, place.value)
        if isinstance(place.value, dict) and place.keys in kinds.BY_NETWORK:
            nodes = place.node.map if place.node is not None else {}
            return {
                name: place.child(name, node=nodes.get(name), value=one, is_choice=True)
                for name, one in place.value.items()
            }
        return self.unparsed_children(place, place.node) if place.node is not None else {}

    def unparsed_children(self, place: SpecKey, node: Node) -> dict[str, SpecKey]:
        """Return the keys below a node that has no parsed value."""
        if node.is_list:
            return self.items(place, node)
        if place.keys and _is_entry(place.keys):
            return self.entry(place, node)
        values = self.experiment.vars if place.keys == ("vars",) else {}
        return {key: place.child(key, node=child, value=values.get(key, UNKNOWN)) for key, child in node.map.items()}

    def sections(self, root: SpecKey) -> dict[str, SpecKey]:
        """Return the sections that are written or have a default; `objective` may follow from the data."""
        assert root.node is not None
        e = self.experiment
        from ..objectives import default_objective

        implies = e.objective is None and e.data is not None and not e.networks
        objective: Any = default_objective(e.data.facts()) if implies and e.data is not None else e.objective
        heads = getattr(e.objective, "of", None)
        if isinstance(heads, dict) and root.node.at("objective", "heads") is None:
            objective = heads  # written by output, without the kind
        init = by_network(root.node.at("init"), e.inits, e.init)
        values = {"data": e.data, "objective": objective, "init": init, "weights": e.weights, "train": e.train}
        values["track"] = e.track
        found = {name: value for name, value in values.items() if value is not None}
        is_choice = {name: isinstance(value, Declared) for name, value in found.items()}
        below = {
            name: root.child(
                name, node=root.node.map.get(name), value=found.get(name, UNKNOWN), is_choice=is_choice.get(name)
            )
            for name in SECTIONS
            if name in root.node.map or name in found
        }
        if "name" not in below:
            below["name"] = root.child("name", value=e.name, owner="the file")
        return below

    def fields(self, place: SpecKey, made: Strict) -> dict[str, SpecKey]:
        """Return the fields of a section or of a kind."""
        owner = made.kind if isinstance(made, Declared) else place.key
        first = type(made).first_field() if isinstance(made, Declared) else None
        found = {}
        for name, info in type(made).model_fields.items():
            node = place.node.map.get(name) if place.node is not None else None
            # `adam: 1e-3` writes `adam.lr`: the bare value is the node of its field.
            if name == first and place.node is not None and is_bare(place.node):
                node = place.node
            value = getattr(made, name)
            if isinstance(made, Train) and name in BY_NETWORK:
                value = by_network(node, made.named(name), value)
            is_choice = choice_of(type(made), name) is not None and isinstance(value, Declared)
            more: dict[str, Any] = {"value": value, "is_choice": is_choice, "info": info, "owner": owner}
            found[name] = place.child(name, node=node, first=name == first, **more)
        return found | {
            key: replace(place.child(key), keys=(*place.keys[:-1], key) if place.keys else None, node=n)
            for key, n in place.beside.items()
        }

    def items(self, place: SpecKey, node: Node) -> dict[str, SpecKey]:
        """Return items by number, and those of a list of layers also by the names that overrides use."""
        items, original = node.list, node.original
        layers = place.keys is not None and (_holds_layers(place.keys) or place.keys == STAGES)
        names = {index: name for name, index in (entry_names(items) if layers else {}).items()}
        names = original.names_by_index() if original is not None else names
        found: dict[str, SpecKey] = {}
        for index, item in enumerate(items):
            number = original.remaining[index] if original is not None else index
            at = place.child(names.get(index, str(number)), index, node=item)
            found |= {str(number): at, names.get(index, str(number)): at}
        return found

    def entry(self, place: SpecKey, entry: Node) -> dict[str, SpecKey]:
        """Return the keys of an entry of a list of layers: its kind, the kind's fields, and `name`, `from`, ..."""
        kind = kind_of_entry(entry) if entry.is_map else str(entry.value)
        beside = {key: place.child(key, node=n) for key, n in entry.map.items() if key in ENTRY_KEYS or kind is None}
        if kind is None:
            return {"": place, **beside}
        options = place.child(kind, node=entry.map.get(kind, Node({}, entry.mark)))
        inside = {name: replace(at, key=f"{place.key}.{name}") for name, at in self.options(kind, options).items()}
        return {kind: options, **inside, **beside}

    def options(self, kind: str, at: SpecKey) -> dict[str, SpecKey]:
        """Return the fields of a layer, the arguments of a block or the keys of a structure."""
        options = at.node.map if at.node is not None else {}
        bare = at.node if at.node is not None and is_bare(at.node) else None
        args = self.root.at("blocks", kind, "args")
        if args is not None:
            first = next(iter(args.map), None)
            written = options if bare is None else {str(first): bare}
            return {
                name: at.child(name, node=written[name], first=name == first)
                if name in written
                else SpecKey("", ("blocks", kind, "args", name), default, owner=f"block {kind}")
                for name, default in args.map.items()
            }
        if kind not in LAYERS:
            return {name: at.child(name, node=node) for name, node in options.items()}
        first = LAYERS[kind].first_field()
        found = {}
        for name, info in LAYERS[kind].model_fields.items():
            node = options.get(name, bare if name == first else None)
            value = LAYERS[kind].default_of(name) if node is None else UNKNOWN
            found[name] = at.child(name, node=node, value=value, info=info, owner=kind, first=name == first)
        return found

    def leaves(self, place: SpecKey) -> Iterator[SpecKey]:
        """Yield the single values of a section in order; a list of plain values is one, and so is `relu`."""
        below = self.children(place)
        # An item of a list is there twice, by number and by name.
        inside = list({id(at): at for at in below.values()}.values())
        of_layers = place.keys is not None and _holds_layers(place.keys)
        plain = place.node is not None and place.node.is_list and not any(n.is_map for n in place.node.walk())
        simple = isinstance(place.value, Declared) and not type(place.value).model_fields
        is_entry = bool(place.keys) and place.node is not None and _is_entry(place.keys or ())
        if is_entry:
            inside = inside[1:]  # its kind, whose fields stand here too
        if not inside or simple or (plain and not of_layers):
            yield place
            return
        for at in inside:
            yield from self.leaves(at)


def _holds_layers(keys: Keys) -> bool:
    """Whether `keys` lead to a list of layers."""
    return keys[-1:] in {("layers",), ("shortcut",), ("after",)} or "branches" in keys[-2:]


def _is_entry(keys: Keys) -> bool:
    return isinstance(keys[-1], int) and _holds_layers(keys[:-1])


def by_network(node: Node | None, named: Mapping[str, Any], made: Any) -> Any:
    """Return the value of a section that holds a kind, or kinds by network: one kind, or a mapping as written."""
    return dict(named) or ({ONE: made} if node is not None and ONE in node.map else made)


def is_bare(node: Node) -> bool:
    """Whether a node is a value without keys, which sets the first field of a kind."""
    return not node.is_map and node.value is not None
