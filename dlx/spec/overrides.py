"""Overrides of a spec in Hydra's grammar: `train.batch_size=64 +vars.width=3 ~init data=mnist1d`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from ..errors import Mark, Problem, SpecError, did_you_mean, shortened
from ..layers import LAYERS
from ..utils.passwords import masked
from . import hydra_grammar, override_hints
from .compose import find, group_file
from .plugin_list import add, taken
from .sections.expect import CLAIMING
from .sections.kinds import BY_NETWORK, are_networks, choice_at
from .syntax.nodes import OVERRIDE, OriginalItems, refuse_out_of_range, too_large_number, too_small_number
from .syntax.read import Node, located
from .validation import ENTRY_KEYS, shown

OPEN = {
    ("vars",),
    ("networks",),
    ("network", "inputs"),
    ("network", "outputs"),
    *((section,) for section in CLAIMING),
    ("analyses",),
    ("blocks",),
    ("weights", "map"),
}
"""Mappings whose keys users choose: a key that is not there yet is written with `+`."""

STAGES = ("stages",)
"""The list whose items are stages, which overrides call by their names."""


def apply(root: Node, overrides: Sequence[str], spec: Path) -> Node:
    """Apply the overrides in order to a copy of the spec. SpecError with the problems of all of them."""
    changed, problems = applied(root, overrides, spec)
    if problems:
        raise SpecError(*problems)
    return changed


def applied(root: Node, overrides: Sequence[str], spec: Path) -> tuple[Node, list[Problem]]:
    """Apply the overrides that are valid to a copy of the spec, and return the problems of the others."""
    problems: list[Problem] = []
    for text in overrides:
        try:
            # On a copy: an override that fails half-way must leave the spec of those before it.
            root = _apply_one(root.copy(), text, spec)
        except SpecError as error:
            problems += error.problems
    return root, problems


class ChangeOf(str):
    """An override that a user has typed as something else, by whose name mistakes in it are told."""

    def __new__(cls, text: str, typed: str) -> Self:
        """Make an override of the text; `typed` is such as `option `--sampler grid``."""
        made = super().__new__(cls, text)
        made.typed = typed
        return made

    typed: str


def mark_of(text: str) -> Mark:
    """Return the mark of an override, which stands on no line: `override `TEXT``, passwords masked."""
    if isinstance(text, ChangeOf):
        return Mark(shortened(masked(text.typed), 80))
    return Mark(f"override `{shortened(masked(text), 80)}`")


def parse(text: str, mark: Mark | None = None) -> Any:
    """Parse one override; `mark` is where it stands, if not on the command line. SpecError."""
    if (simple := hydra_grammar.simple(text)) is not None:
        return simple
    from hydra.errors import HydraException

    mark = mark or mark_of(text)
    try:
        # Hydra's parser recurses into nested lists and mappings without a bound of its own.
        override = hydra_grammar.override(text)
    except RecursionError as error:
        raise SpecError(Problem("is nested too deep", "Write it into the spec.", mark)) from error
    except HydraException as error:
        if "integer string conversion" in str(error):  # Python's own bound on the digits of a number
            raise SpecError(too_large_number(mark)) from error
        if "=" not in text and not text.startswith("~") and not re.match(r"\+?[\w.]+:", text):
            hint = "Behind the spec stand changes of it, `key=value`; each spec takes a command of its own."
            raise SpecError(Problem("changes nothing: it has no `=`", hint, mark)) from error
        said = override_hints.in_words(_of_hydra(str(error).split("\n")[0]))
        known = (shortened(said, 100), override_hints.GRAMMAR)
        what, hint = override_hints.slip(text) or known
        raise SpecError(Problem(f"is not in Hydra's override grammar: {what}", hint, mark)) from error
    except hydra_grammar.DuplicateKeyError as error:
        raise SpecError(Problem(f"`{error}` is given twice in one mapping", "Keep one of the two.", mark)) from error
    except ValueError as error:
        raise SpecError(too_large_number(mark)) from error
    if (number := hydra_grammar.underflow_in(text)) is not None:
        raise SpecError(too_small_number(number, mark, override.key_or_group))
    if inner := hydra_grammar.sweep_inside(override.key_or_group.replace("/", "."), override.value()):
        raise SpecError(Problem(*inner, mark, override.key_or_group))
    return override


def values_of(changes: Sequence[str]) -> dict[str, Any]:
    """Return overrides by key, the last one of each key, passwords masked; a key that is dropped begins with `~`.

    SpecError where one is not in Hydra's grammar.
    """
    found: dict[str, Any] = {}
    for text in changes:
        override = parse(text)
        key, dropped = override.key_or_group.replace("/", "."), override.is_delete()
        found = {name: value for name, value in found.items() if name.removeprefix("~") != key}
        value = None if dropped else hydra_grammar.plain(override.value())
        found[f"~{key}" if dropped else key] = masked(value) if isinstance(value, str) else value
    return found


def _of_hydra(message: str) -> str:
    """Return Hydra's message without the names of Python's classes."""
    found = re.match(r"\w+ while evaluating '(.*)': (.*)", message)
    if found is None:
        return message
    return f"`{found[1]}` takes no sweep inside" if "Sweep(" in found[2] else f"`{found[1]}`: {found[2]}"


def _apply_one(root: Node, text: str, spec: Path) -> Node:
    override = parse(text)
    mark = mark_of(text)
    name = override.key_or_group
    if override.is_sweep_override():
        hint = "One value that is a list is written [1,2]; `dlx sweep` tries several."
        raise SpecError(Problem("names several values, and this command takes one", hint, mark, name))
    if not name or override.package is not None:
        what = "names no key" if not name else f"has a package, `@{override.package}`, which means nothing in a spec"
        raise SpecError(Problem(what, f"Write `{name or 'key'}=value`.", mark, name))
    adding = override.is_add() or override.is_force_add()
    if re.split(r"[./]", name)[0] == "defaults":
        hint = "Name the file in the `defaults` of a spec; `GROUP=NAME` takes the file of a config group."
        raise SpecError(
            Problem("`defaults` are merged before any override, and this would change nothing", hint, mark, name)
        )
    if override.is_delete():
        _Target(root, re.split(r"[./]", name), mark, adding, dropping=True).drop(override.value())
    else:
        put(root, name, content_of(name, hydra_grammar.plain(override.value()), spec, mark), mark, adding)
    return root


def content_of(name: str, value: Any, spec: Path, mark: Mark) -> Node:
    """Return the node that an override of `name` sets: the file of a config group named by `value`, or the value."""
    group = "/".join(re.split(r"[./]", name))
    # As in Hydra, the name of an option in a config group means its file.
    if isinstance(value, str) and find(f"{group}/{value}", spec):
        return group_file(group, value, spec, mark)
    refuse_out_of_range(value, mark, name)
    return located(value, mark)


def put(root: Node, name: str, content: Node, mark: Mark, adding: bool = False) -> None:
    """Set the key `name` of a spec in place. SpecError for a key that the spec lacks, unless `adding`.

    The `plugins` of a file of a config group become those of the spec.
    """
    if plugins := taken(content, re.split(r"[./]", name)[0]):
        add(root, plugins)
    _Target(root, re.split(r"[./]", name), mark, adding, dropping=False).put(content)


def place_of(root: Node, name: str) -> tuple[int, str | int] | None:
    """Return the identity of the place of a key, equal for two spellings of one place; None where there is none."""
    try:
        target = _Target(root, re.split(r"[./]", name), mark_of(name), adding=True, dropping=False)
    except SpecError:
        return None
    return id(target.parent), target.key


class _Target:
    """The place that an override sets or drops: its mapping or list, and the key or index in it."""

    def __init__(self, root: Node, keys: list[str], mark: Mark, adding: bool, dropping: bool) -> None:
        self.keys, self.mark, self.adding, self.dropping = keys, mark, adding, dropping
        self.root, self.blocks = root, root.at("blocks")
        self.in_options = False
        """Whether the key before was the kind of an entry, so that its fields come next."""
        node = root
        for depth, key in enumerate(keys):
            self.parent, self.key = self.holder(node, key, tuple(keys[:depth]))
            if depth < len(keys) - 1:
                node = self.child(tuple(keys[: depth + 1]))

    def fail(self, message: str, hint: str = "") -> SpecError:
        return SpecError(Problem(message, hint, self.mark, ".".join(self.keys)))

    def holder(self, node: Node, key: str, path: tuple[str, ...]) -> tuple[Node, str | int]:
        """Find the node that holds `key`: `node`, or the options of the layer that `node` is the entry of."""
        inside, self.in_options = self.in_options, False
        if node.is_list:
            return node, self.index(node, key, path)
        kind = kind_of_entry(node) if "layers" in path and not inside else None
        self.in_options = key == kind
        if kind is not None and key != kind and key not in ENTRY_KEYS and node.map[kind].is_map:
            return node.map[kind], key  # `conv_1.kernel_size` means `conv_1.conv.kernel_size`
        if kind == "layers" and key not in (kind, *ENTRY_KEYS) and node.map[kind].is_list:
            return node.map[kind], self.index(node.map[kind], key, path)  # `stem.conv_1`
        new = key not in node.map and not self.adding
        if new and self.is_open(node, path):
            raise self.missing_key_error(node, ".".join((*path, key)))
        if new and choice_at(path) is not None and node.map:
            raise self.other_kind_error(next(iter(node.map)), key, path)
        return node, key

    def is_open(self, node: Node, path: tuple[str, ...]) -> bool:
        """Whether the keys of the mapping at `path` are names that users choose."""
        one = ("network", *path[2:]) if path[:1] == ("networks",) and len(path) > 2 else path
        several = self.root.at("networks") is not None or "network" in node.map
        return one in OPEN or (several and are_networks(node, path))

    def other_kind_error(self, has: str, key: str, path: tuple[str, ...]) -> SpecError:
        """Return the error of a second kind (`train.optimizer.sgd` beside adam), or of a field without its kind."""
        dotted, registry = ".".join(path), choice_at(path)
        if registry is not None and key in registry:
            rest = ".".join(self.keys[len(path) + 1 :])
            hint = f"Another kind is set whole: `{dotted}={{{key}: {f'{{{rest}: ...}}' if rest else '{}'}}}`."
        elif path in BY_NETWORK and key in (self.root.at("networks") or self.root).map:
            hint = f"It is that of all networks. One for each is set whole: `{dotted}={{{key}: ...}}`."
        else:
            hint = f"Did you mean `{dotted}.{has}.{key}`?"
        return self.fail(f"`{dotted}` holds `{has}`, and no `{key}` beside it", hint)

    def child(self, path: tuple[str, ...]) -> Node:
        """Return the node at the key in its long form; a new empty mapping where the spec does not have it yet."""
        if isinstance(self.parent.value, list):
            assert isinstance(self.key, int)
            item = self.parent.value[self.key]
            return item if path[:-1] == STAGES else long_form(item, self.blocks)
        assert isinstance(self.parent.value, dict)
        key = str(self.key)
        if key not in self.parent.value:
            if self.dropping:
                raise self.missing_key_error(self.parent, ".".join(path))
            self.parent.value[key] = Node({}, self.mark)
        child = self.parent.value[key]
        if child.value is None:
            child.value = {}
        elif choice_at(path) is not None and isinstance(child.value, str):
            child.value = {child.value: Node({}, child.mark)}
        elif "layers" in path and not self.in_options and _names_layer(child):
            return long_form(child, self.blocks)
        elif not (child.is_map or child.is_list) and (first := self.first_field(path)):
            child.value = {first: Node(child.value, child.mark)}
        elif not (child.is_map or child.is_list):
            raise self.fail(f"`{'.'.join(path)}` is a single value and has nothing below it")
        return child

    def first_field(self, path: tuple[str, ...]) -> str | None:
        """Return the field that a bare value sets, where `path` ends in a kind: `train.optimizer.sgd`."""
        if self.in_options and path[-1] in LAYERS:
            return LAYERS[path[-1]].first_field()
        registry = choice_at(path[:-1])
        return registry[path[-1]].first_field() if registry is not None and path[-1] in registry else None

    def index(self, holder: Node, key: str, path: tuple[str, ...]) -> int:
        """Return the index of an item by its number, or of a layer by its name, as they were before any override."""
        original = original_items(holder, "layers" in path or "branches" in path or path == STAGES)
        names, count = original.names, original.count
        # At most nine digits: no list is longer, and `int` raises for thousands of digits.
        number = int(key) if re.fullmatch(r"[0-9]{1,9}", key) else names.get(key)
        if number in original.remaining:
            return original.remaining.index(number)
        if number is not None and number < count:
            raise self.fail(f"`{'.'.join((*path, key))}` was taken out by an override before this one")
        if key.isdigit() or not names:
            last = f"Its items are 0 to {count - 1}." if count else "It is empty."
            raise self.fail(f"the list `{'.'.join(path)}` has no item `{key}`", last)
        what = "stage" if path == STAGES else "layer"
        raise self.fail(f"there is no {what} `{key}` to override", self.name_before(holder, original, key))

    @staticmethod
    def name_before(holder: Node, original: OriginalItems, key: str) -> str:
        """Return the hint where a layer has its name from another override, or none has that name."""
        now = entry_names(holder.list).get(key)
        if now is None:
            return did_you_mean(key, original.names)
        return f"Overrides call a layer as the spec does, before any of them: `{original.names_by_index()[now]}`."

    def missing_key_error(self, node: Node, dotted: str) -> SpecError:
        """Return the error of a key that `node` does not have, with the nearest keys as its hint."""
        hint = did_you_mean(dotted.rsplit(".", 1)[-1], node.map)
        if self.dropping:
            return self.fail(f"there is no `{dotted}` to drop", hint)
        return self.fail(
            f"there is no `{dotted}` to override", f"{hint} A new key is written `+{dotted}=...`.".strip()
        )

    def put(self, value: Node) -> None:
        if isinstance(self.parent.value, list) and isinstance(self.key, int):
            entry = self.parent.value[self.key]
            kind = entry.value if isinstance(entry.value, str) else kind_of_entry(entry)
            if self.keys[-2:-1] != ["layers"] or kind is None or value.is_map or isinstance(value.value, str):
                value.replaced = entry
                self.parent.value[self.key] = value
            else:
                # `linear_1=20` replaces the options of the entry and keeps its name, inputs and values.
                value.replaced = long_form(entry).map[str(kind)]
                entry.map[str(kind)] = value  # `linear_1=20` means `linear: 20`
        elif isinstance(self.parent.value, dict):
            if value.plain() is not None:
                self.replace_other_length()
            value.replaced = self.parent.value.get(str(self.key))
            self.parent.value[str(self.key)] = value

    def replace_other_length(self) -> None:
        """Take out the epochs of a training whose steps are set, or the other way round."""
        other = self.other_length()
        have = self.parent.at(other) if other else None
        if have is None or have.plain() is None:
            return
        assert isinstance(self.parent.value, dict)
        if have.mark.file.startswith(OVERRIDE):
            both = f"`{'.'.join(self.keys)}` and `{'.'.join((*self.keys[:-1], other))}`"
            raise self.fail(f"{both} are set, and a training lasts one of the two", "Leave one of them out.")
        del self.parent.value[other]

    def other_length(self) -> str:
        """Return `epochs` where the key is the steps of a training, `steps` where it is its epochs; else nothing."""
        of_training = self.keys[-2:-1] == ["train"] and (len(self.keys) == 2 or self.keys[0] == STAGES[0])
        return {"steps": "epochs", "epochs": "steps"}.get(self.keys[-1], "") if of_training else ""

    def drop(self, expected: Any) -> None:
        have = self.parent.at(self.key)
        other = self.parent.at(self.other_length()) if self.other_length() else None
        if have is None and other is not None and other.mark.file.startswith(OVERRIDE):
            return  # that override has taken it out
        if have is None:
            raise self.missing_key_error(self.parent, ".".join(self.keys))
        plain = have.plain()
        # `~key=value` drops a key only where it has that value, or is a choice of that kind.
        if expected is not None and hydra_grammar.plain(expected) not in (
            plain,
            *(plain if isinstance(plain, dict) else ()),
        ):
            raise self.fail(f"`{'.'.join(self.keys)}` is {shown(plain)}, not {shown(hydra_grammar.plain(expected))}")
        del self.parent.value[self.key]  # type: ignore[union-attr, arg-type]
        if self.parent.original is not None and isinstance(self.key, int):
            del self.parent.original.remaining[self.key]


def kind_of_entry(entry: Node) -> str | None:
    """Return the kind of layer or block that an entry names; None where it names none or several."""
    kinds = [key for key in entry.map if key not in ENTRY_KEYS]
    return kinds[0] if len(kinds) == 1 else None


def _names_layer(node: Node) -> bool:
    """Whether a value is one layer, as `merge` and fields of some layers take."""
    kind = node.value if isinstance(node.value, str) else kind_of_entry(node)
    return kind is not None and kind in LAYERS


def long_form(entry: Node, blocks: Node | None = None) -> Node:
    """Expand an entry in place: `relu` becomes `relu: {}`, `linear: 10` becomes `linear: {out_features: 10}`."""
    if isinstance(entry.value, str):
        entry.value = {entry.value: Node({}, entry.mark)}
    kind = kind_of_entry(entry)
    options = entry.map[kind] if kind is not None else None
    if options is not None and not options.is_map and not (kind == "layers" and options.is_list):
        args = blocks.at(kind, "args") if blocks is not None and kind is not None else None
        first = LAYERS[kind].first_field() if kind is not None and kind in LAYERS else None
        first = next(iter(args.map), None) if args is not None else first
        options.value = {} if options.value is None else {first or "value": Node(options.value, options.mark)}
    return entry


def original_items(holder: Node, of_layers: bool) -> OriginalItems:
    """Return numbers and names of the items of a list before the first override; the first call records them.

    Later overrides use them, so that `~network.layers.0` does not change what `network.layers.1` means.
    """
    if holder.original is None:
        count = len(holder.list)
        holder.original = OriginalItems(entry_names(holder.list) if of_layers else {}, count, list(range(count)))
    return holder.original


def entry_names(items: Sequence[Node]) -> dict[str, int]:
    """Return the index of each entry of a list of layers by its name: the `name` written in it, or else `kind_n`.

    After a `repeat`, `for` or block the count of `kind_n` depends on their content, so only written names remain.
    """
    names: dict[str, int] = {}
    counts: dict[str, int] = {}
    plain = True
    for index, entry in enumerate(items):
        kind = entry.value if isinstance(entry.value, str) else kind_of_entry(entry)
        name = entry.map.get("name")
        if name is not None and isinstance(name.value, str):
            names[name.value] = index
        elif plain and isinstance(kind, str) and kind in LAYERS:
            counts[kind] = counts.get(kind, 0) + 1
            names[f"{kind}_{counts[kind]}"] = index
        # `when` may leave an entry out, and a structure or block may hold further nodes of a kind.
        plain = plain and (isinstance(kind, str) and kind in LAYERS) and "when" not in entry.map
    return names
