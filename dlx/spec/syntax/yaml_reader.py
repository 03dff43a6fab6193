"""Parser of YAML 1.2 to nodes.

The text is read as a stream of events, so that depth and size are checked before anything is built: nesting a
thousand deep or exponential aliases (a "billion laughs" bomb) end in an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from ...errors import Mark, Problem, SpecError
from .nodes import MAX_DEPTH, MAX_VALUES, Node, refuse_out_of_range
from .scalars import TAG, plain_scalar, tagged_scalar
from .yaml_hints import problem_of
from .yaml_source import LibyamlText

MERGE = "<<"
_FIRST_DIGITS, _THOUSANDS = re.compile(r"[-+]?\d{1,3}"), re.compile(r"\d{3}")
MOST_REREAD = 5_000_000
"""Characters that are parsed again because of tabs, in all: each tab costs one more pass."""


def parse_yaml(text: str, file: str) -> Node:
    """Parse a YAML 1.2 document. SpecError where it is malformed or no mapping."""
    source = LibyamlText(text)
    remaining_text, budget = source.text, MOST_REREAD
    while True:
        reader = _NodeBuilder(file, source)
        try:
            # libyaml's parser is more than ten times as fast as PyYAML's own, which stands in where it is missing.
            for event in yaml.parse(remaining_text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                reader.feed(event)
        except yaml.YAMLError as error:
            budget -= len(remaining_text)
            mended = _without_tab(error, remaining_text, reader.in_braces) if budget > 0 else None
            if mended is None:
                raise SpecError(problem_of(error, text, file)) from error
            remaining_text = mended
        else:
            return _checked(reader.root, reader.problems, file)


@dataclass
class _Open:
    """A mapping or list whose end has not been read."""

    node: Node
    start: int
    """Count of values before it."""
    in_braces: bool
    key: str | None = None
    mark: Mark | None = None
    number: tuple[str, int] | None = None
    """The digits of the value before, in braces, and where they end in the text."""
    cut: str = ""
    """The number whose digits behind a comma are the key."""
    cut_end: int = 0
    """Where `cut` ends in the text."""
    merges: bool = False
    """Whether the key is an unquoted `<<`."""
    merged: list[Node] = field(default_factory=list)


class _NodeBuilder:
    """Builder of nodes from libyaml's events, without recursion and within bounds."""

    def __init__(self, file: str, source: LibyamlText) -> None:
        self.file, self.source = file, source
        self.anchors: dict[str, Node] = {}
        self.sizes: dict[int, int] = {}  # of anchored nodes: a use of an alias counts as its whole content
        self.count = 0
        self.documents = 0
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.problems: list[Problem] = []

    @property
    def in_braces(self) -> bool:
        return bool(self.stack) and self.stack[-1].in_braces

    def fail(self, message: str, mark: Mark, hint: str = "") -> SpecError:
        return SpecError(*self.problems, Problem(message, hint, mark))

    def feed(self, event: Any) -> None:
        mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fail("a second document starts here", mark, "A spec is one document: drop the `---`.")
        if isinstance(event, yaml.CollectionEndEvent):
            self.close()
        elif isinstance(event, yaml.NodeEvent):
            self.open_or_place(event, mark)

    def open_or_place(self, event: Any, mark: Mark) -> None:
        self.count += 1
        if isinstance(event, yaml.AliasEvent):
            node = self.alias(self.source.restored(str(event.anchor)), mark)
        elif isinstance(event, yaml.ScalarEvent):
            node = Node(self.scalar(event, mark), mark)
        else:
            node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], mark)
            self.tag(event.tag, mark, ("map", "seq"))
        if self.count > MAX_VALUES:
            raise self.fail(f"holds more than {MAX_VALUES:,} values", mark, "Repeats belong in `repeat` or `for`.")
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self.anchors[self.source.restored(event.anchor)] = node
            self.sizes[id(node)] = 1
        self.place(node, event)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self.stack) >= MAX_DEPTH:
                raise self.fail(f"is nested more than {MAX_DEPTH} deep", mark)
            self.stack.append(_Open(node, self.count, bool(event.flow_style)))

    def alias(self, anchor: str, mark: Mark) -> Node:
        """Return the value of an alias with the alias's own mark; values inside it keep theirs."""
        if anchor not in self.anchors:
            hint = f'A text that begins with `*` wants quotes: "*{anchor}".'
            raise self.fail(f"`*{anchor}` stands for nothing: there is no `&{anchor}` before it", mark, hint)
        node = self.anchors[anchor]
        # Every walk over the nodes relies on a tree of finite depth.
        if any(node is one.node for one in self.stack):
            raise self.fail(f"`*{anchor}` contains itself", mark)
        self.count += self.sizes[id(node)]
        return Node(node.value, mark)

    def close(self) -> None:
        ended = self.stack.pop()
        if ended.merged:
            self.merge(ended)
        if id(ended.node) in self.sizes:
            self.sizes[id(ended.node)] = self.count - ended.start + 1

    def place(self, node: Node, event: Any) -> None:
        if not self.stack:
            self.root = node
            return
        around = self.stack[-1]
        if isinstance(around.node.value, list):
            around.node.value.append(node)
        elif around.key is None:
            self.key(around, node, event)
        else:
            self.value(around, node)
            if around.in_braces:
                self.comma(around, node, event)

    def key(self, around: _Open, node: Node, event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            hint = 'An expression inside {...} or [...] wants quotes: {width: "${w}"}.'
            if isinstance(event, yaml.AliasEvent):
                what = f"the alias `*{self.source.restored(str(event.anchor))}` stands as a key, and a key is a word"
                raise self.fail(what, node.mark, "Write the key itself; an alias stands for a value, `key: *name`.")
            raise self.fail("a key must be a word", node.mark, hint)
        around.key, around.mark = self.source.restored(event.value), node.mark
        start: Any = event.start_mark
        end: Any = event.end_mark
        follows = around.number is not None and start.index == around.number[1] + 1
        if follows and around.number is not None and not event.style and _THOUSANDS.fullmatch(around.key):
            around.cut, around.cut_end = f"{around.number[0]},{around.key}", end.index
        around.merges = around.key == MERGE and not event.style

    def value(self, around: _Open, node: Node) -> None:
        key, mark = around.key, around.mark
        assert isinstance(around.node.value, dict)
        assert key is not None
        assert mark is not None
        around.key = None
        first = around.merged[0] if around.merges and around.merged else around.node.value.get(key)
        if first is not None:
            message = f"`{key}` is given twice, first on line {first.mark.line}"
            hint = "Write one list: `<<: [*a, *b]`." if around.merges else "Keep one of the two."
            self.problems.append(Problem(message, hint, mark))
            return
        # A child of a mapping has the mark of its key: that is where readers look for it.
        node.mark = mark
        if around.merges:
            around.merged.append(node)
        else:
            around.node.value[key] = node

    def comma(self, around: _Open, node: Node, event: Any) -> None:
        """Report the comma inside a number: `{is: 59,065}` is an entry `is` and one more, `065`."""
        text = str(event.value) if isinstance(event, yaml.ScalarEvent) and not event.style else ""
        if around.cut and node.value is None and not text:
            message = f"the comma in `{around.cut}` ends an entry inside {{...}}"
            hint = f"Write `{around.cut.replace(',', '_')}` or `{around.cut.replace(',', '')}`."
            if "," in around.cut.rpartition(",")[0]:
                self.problems.pop()  # the beginning of the same number
            self.problems.append(Problem(message, hint, node.mark))
            around.node.map.pop(around.cut.rpartition(",")[2], None)
            around.number = around.cut, around.cut_end
        else:
            around.number = (text, event.end_mark.index) if _FIRST_DIGITS.fullmatch(text) else None
        around.cut = ""

    def merge(self, ended: _Open) -> None:
        """Merge the mappings of `<<` into one that has ended: its own keys win, then those of the earlier mapping."""
        (brought,) = ended.merged
        own = ended.node.map
        merged: dict[str, Node] = {}
        for one in brought.list if brought.is_list else [brought]:
            if not one.is_map:
                hint = "Write `<<: *base` or `<<: [*a, *b]`, where `&base` stands before a mapping above."
                message = f"`<<` takes a mapping or a list of mappings, not {_named(one)}"
                self.problems.append(Problem(message, hint, one.mark))
                continue
            merged = {key: merged.get(key, child) for key, child in (merged | one.map).items()}
        for key, child in own.items():
            child.replaced = merged.get(key)
        ended.node.value = merged | own

    def scalar(self, event: Any, mark: Mark) -> bool | int | float | str | None:
        text = self.source.restored(event.value)
        plain = not event.style and event.tag is None
        tag = None if plain else self.tag(event.tag, mark, ("str",))
        if not plain and tag is None:
            return text
        try:
            value = plain_scalar(text) if tag is None else tagged_scalar(tag, text)
            refuse_out_of_range(value, mark)
        except ValueError:
            message = f'"{text[:60]}" is not what its tag `!!{tag}` says'
            raise self.fail(message, mark, "Drop the tag, or mend the value.") from None
        except SpecError as error:
            raise SpecError(*self.problems, *error.problems) from None
        return value

    def tag(self, tag: str | None, mark: Mark, harmless: tuple[str, ...]) -> str | None:
        """Return the kind of scalar that a tag asks for, None where it changes nothing. SpecError for other tags."""
        kind = (tag or "").removeprefix(TAG)
        if tag is None or tag == "!" or (tag.startswith(TAG) and kind in harmless):
            return None
        if kind in {"int", "float", "bool", "null"} and "map" not in harmless:
            return kind
        shown = self.source.restored(tag.replace(TAG, "!!"))
        raise self.fail(f"the tag `{shown}` has no meaning in a spec", mark, "Drop the tag.")


def _named(node: Node) -> str:
    return "a list" if node.is_list else "nothing" if node.value is None else f"{node.value}"


_TAB = re.compile(r"[ \t]*\t[ \t]*")
_NESTS = re.compile(r"(?:[-?]|[^\s#\"'\[{][^#]*:)(?:\s|$)")


def _without_tab(error: yaml.YAMLError, text: str, in_braces: bool) -> str | None:
    """Replace the tabs at an error by spaces, where YAML 1.2 allows tabs and libyaml does not; None elsewhere.

    A tab may separate two words, fill an empty line, and stand anywhere inside braces; it never indents.
    """
    place = getattr(error, "problem_mark", None)
    about = str(getattr(error, "problem", ""))
    if place is None or not ("tab character" in about or "cannot start any token" in about):
        return None
    start = text.rfind("\n", 0, place.index) + 1
    found = _TAB.search(text, start)
    if found is None or not start <= found.start() <= place.index <= found.end():
        return None
    end = text.find("\n", found.end())
    before, rest = text[start : found.start()], text[found.end() : end if end >= 0 else len(text)]
    indents = not before.strip() and bool(rest.strip()) and not rest.startswith("#")
    if not in_braces and text.lstrip()[:1] not in {"{", "["} and (indents or _NESTS.match(rest)):
        return None
    return f"{text[: found.start()]}{' ' * (found.end() - found.start())}{text[found.end() :]}"


def _checked(root: Node | None, problems: list[Problem], file: str) -> Node:
    if root is None:
        raise SpecError(Problem("is empty", "`dlx new` writes a spec to start from.", Mark(file)))
    if not root.is_map:
        kind = "list" if root.is_list else "single value"
        raise SpecError(
            Problem(
                f"is a {kind}, not a spec",
                "A spec is a mapping that has `network:`, `data:`, `train:` ...",
                root.mark,
            )
        )
    if problems:
        raise SpecError(*problems)
    return root
