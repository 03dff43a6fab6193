"""The keys of a valid spec: what is written at each, what was made of it, and what there is below it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic.fields import FieldInfo

from ..errors import Mark, Problem, SpecError, did_you_mean
from ..layers import LAYERS
from ..registry import Declared, Strict
from .overrides import entry_names, kind_of_entry
from .sections import kinds
from .sections.experiment import Experiment
from .sections.kinds import SECTIONS
from .sections.networks import BY_NETWORK, ONE
from .sections.train import Train
from .syntax.read import BROKEN, Node
from .validation import ENTRY_KEYS, choice_of

Keys = tuple[str | int, ...]
UNKNOWN: Any = BROKEN
"""Stands for a value that only a place in the graph has."""


@dataclass(frozen=True)
class SpecKey:
    """A key on its way down: what is written there, and what was made of it."""

    key: str = ""
    keys: Keys | None = ()
    """The way in the tree of what is written; None where nothing could be written."""
    node: Node | None = None
    made: Any = UNKNOWN
    chosen: bool = False
    """`made` was chosen by kind, and its kind comes next."""
    info: FieldInfo | None = None
    owner: str = ""
    """Whose field it is."""
    first: bool = False
    """It is the field that a bare value sets."""
    beside: Mapping[str, Node] = field(default_factory=dict)
    """Keys beside the kind of an entry."""

    def down(self, name: str, step: str | int | None = None, **more: Any) -> SpecKey:
        """A key below this one; `step` is what it is called in the tree, where that is not its name."""
        keys = None if self.keys is None else (*self.keys, name if step is None else step)
        return SpecKey(f"{self.key}.{name}" if self.key else name, keys, **more)


class SpecKeys:
    """Finds its way in a valid spec."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.root = experiment, experiment.root

    def find(self, key: str, start: SpecKey | None = None) -> SpecKey:
        """The place called `key`, below `start` or in the whole spec."""
        place, rest = start or SpecKey(node=self.root), key
        while rest:
            below = self.below(place)
            named = [name for name in below if name and (rest == name or rest.startswith((f"{name}.", f"{name}/")))]
            if not named:
                raise self.unknown(place, rest, below)
            name = max(named, key=len)
            place, rest = below[name], rest[len(name) + 1 :]
        return place

    def unknown(self, place: SpecKey, rest: str, below: Mapping[str, SpecKey]) -> SpecError:
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
        """Without the numbers of items that have names."""
        places = {id(place) for name, place in below.items() if not name.isdigit()}
        return [name for name, place in below.items() if not name.isdigit() or id(place) not in places]

    def below(self, place: SpecKey) -> dict[str, SpecKey]:
        """Everything that has a name just below a place."""
        if place.keys == ():
            return self.sections(place)
        if isinstance(place.made, Declared) and place.chosen:
            node = place.node.map.get(place.made.kind) if place.node is not None else None
            return {place.made.kind: place.down(place.made.kind, node=node, made=place.made)}
        if isinstance(place.made, Strict):
            return self.fields(place, place.made)
        if isinstance(place.made, dict) and place.keys in kinds.BY_NETWORK:
            nodes = place.node.map if place.node is not None else {}
            return {
                name: place.down(name, node=nodes.get(name), made=one, chosen=True)
                for name, one in place.made.items()
            }
        return self.unparsed_children(place, place.node) if place.node is not None else {}

    def unparsed_children(self, place: SpecKey, node: Node) -> dict[str, SpecKey]:
        """What is below a place that nothing was made of."""
        if node.is_list:
            return self.items(place, node)
        if place.keys and _is_entry(place.keys):
            return self.entry(place, node)
        made = self.experiment.vars if place.keys == ("vars",) else {}
        return {key: place.down(key, node=child, made=made.get(key, UNKNOWN)) for key, child in node.map.items()}

    def sections(self, root: SpecKey) -> dict[str, SpecKey]:
        assert root.node is not None
        e = self.experiment
        from ..objectives import implied

        implies = e.objective is None and e.data is not None and not e.networks
        objective = implied(e.data.facts()) if implies and e.data is not None else e.objective
        init = by_network(root.node.at("init"), e.inits, e.init)
        made = {"data": e.data, "objective": objective, "init": init, "train": e.train, "track": e.track}
        found = {name: value for name, value in made.items() if value is not None}
        chosen = {name: isinstance(value, Declared) for name, value in found.items()}
        below = {
            name: root.down(
                name, node=root.node.map.get(name), made=found.get(name, UNKNOWN), chosen=chosen.get(name)
            )
            for name in SECTIONS
            if name in root.node.map or name in found
        }
        if "name" not in below:
            below["name"] = root.down("name", made=e.name, owner="the file")
        return below

    def fields(self, place: SpecKey, made: Strict) -> dict[str, SpecKey]:
        owner = made.kind if isinstance(made, Declared) else place.key
        first = type(made).first_field() if isinstance(made, Declared) else None
        found = {}
        for name, info in type(made).model_fields.items():
            node = place.node.map.get(name) if place.node is not None else None
            if name == first and place.node is not None and is_bare(place.node):
                node = place.node
            value = getattr(made, name)
            if isinstance(made, Train) and name in BY_NETWORK:
                value = by_network(node, made.named(name), value)
            chosen = choice_of(type(made), name) is not None and isinstance(value, Declared)
            more: dict[str, Any] = {"made": value, "chosen": chosen, "info": info, "owner": owner}
            found[name] = place.down(name, node=node, first=name == first, **more)
        return found | {
            key: replace(place.down(key), keys=_around(place, key), node=n) for key, n in place.beside.items()
        }

    def items(self, place: SpecKey, node: Node) -> dict[str, SpecKey]:
        """Items by number, those of a list of layers by name too, as overrides call them."""
        items, original = node.list, node.original
        layers = place.keys is not None and _holds_layers(place.keys)
        names = {index: name for name, index in (entry_names(items) if layers else {}).items()}
        names = original.names_by_index() if original is not None else names
        found: dict[str, SpecKey] = {}
        for index, item in enumerate(items):
            number = original.remaining[index] if original is not None else index
            at = place.down(names.get(index, str(number)), index, node=item)
            found |= {str(number): at, names.get(index, str(number)): at}
        return found

    def entry(self, place: SpecKey, entry: Node) -> dict[str, SpecKey]:
        """An entry of a list of layers: the fields of its kind and what stands beside; the kind may be left out."""
        kind = kind_of_entry(entry) if entry.is_map else str(entry.value)
        beside = {key: place.down(key, node=n) for key, n in entry.map.items() if key in ENTRY_KEYS or kind is None}
        if kind is None:
            return {"": place, **beside}
        options = place.down(kind, node=entry.map.get(kind, Node({}, entry.mark)))
        inside = {name: replace(at, key=f"{place.key}.{name}") for name, at in self.options(kind, options).items()}
        return {kind: options, **inside, **beside}

    def options(self, kind: str, at: SpecKey) -> dict[str, SpecKey]:
        """The fields of a layer, the arguments of a block, or what a structure holds, at the options of an entry."""
        given = at.node.map if at.node is not None else {}
        bare = at.node if at.node is not None and is_bare(at.node) else None
        args = self.root.at("blocks", kind, "args")
        if args is not None:
            first = next(iter(args.map), None)
            written = given if bare is None else {str(first): bare}
            return {
                name: at.down(name, node=written[name], first=name == first)
                if name in written
                else SpecKey("", ("blocks", kind, "args", name), default, owner=f"block {kind}")
                for name, default in args.map.items()
            }
        if kind not in LAYERS:
            return {name: at.down(name, node=node) for name, node in given.items()}
        first = LAYERS[kind].first_field()
        found = {}
        for name, info in LAYERS[kind].model_fields.items():
            node = given.get(name, bare if name == first else None)
            made = LAYERS[kind].default_of(name) if node is None else UNKNOWN
            found[name] = at.down(name, node=node, made=made, info=info, owner=kind, first=name == first)
        return found

    def leaves(self, place: SpecKey) -> Iterator[SpecKey]:
        """The single values in a section, in their order; a list of plain values is one, and so is `relu`."""
        below = self.below(place)
        inside = list({id(at): at for at in below.values()}.values())
        of_layers = place.keys is not None and _holds_layers(place.keys)
        plain = place.node is not None and place.node.is_list and not any(n.is_map for n in place.node.walk())
        simple = isinstance(place.made, Declared) and not type(place.made).model_fields
        is_entry = bool(place.keys) and place.node is not None and _is_entry(place.keys or ())
        if is_entry:
            inside = inside[1:]  # its kind, whose fields stand here too
        if not inside or simple or (plain and not of_layers):
            yield place
            return
        for at in inside:
            yield from self.leaves(at)


def _holds_layers(keys: Keys) -> bool:
    """Whether a list at `keys` is one of layers."""
    return keys[-1:] in {("layers",), ("shortcut",), ("after",)} or "branches" in keys[-2:]


def _is_entry(keys: Keys) -> bool:
    return isinstance(keys[-1], int) and _holds_layers(keys[:-1])


def _around(place: SpecKey, key: str) -> Keys | None:
    """The keys of what stands beside the options at `place`."""
    return (*place.keys[:-1], key) if place.keys else None


def by_network(node: Node | None, named: Mapping[str, Any], made: Any) -> Any:
    """What was made of a section that holds a kind, or kinds by network: one, or a mapping as it is written."""
    return dict(named) or ({ONE: made} if node is not None and ONE in node.map else made)


def is_bare(node: Node) -> bool:
    return not node.is_map and node.value is not None
