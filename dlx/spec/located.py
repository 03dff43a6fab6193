"""Text to values that know where they were written: YAML 1.2 and TOML, behind one `Node`.

YAML is read as a flat run of events, so that depth and size are bounded before anything is built: a nest a thousand
deep or a bomb of aliases ends in an error. Numbers are YAML 1.2's (`1e-3`), grouped as in TOML (`100_000`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import yaml

from ..errors import Mark, Problem, SpecError
from .toml_marks import key_marks

MAX_DEPTH = 100
MAX_VALUES = 200_000
MAX_BYTES = 10_000_000
SUFFIXES = (".yaml", ".yml", ".toml")


class Broken(Enum):
    """Stands for a value that could not be worked out: that has been told, and what follows from it is not."""

    BROKEN = "(no value)"

    def __repr__(self) -> str:
        return self.value


BROKEN: Final = Broken.BROKEN


@dataclass(slots=True)
class Node:
    """A value and where it stands. Children of a mapping carry the mark of their key."""

    value: bool | int | float | str | list[Node] | dict[str, Node] | Broken | None
    mark: Mark
    replaced: Node | None = None
    """What stood here before another file or an override put this in its place."""

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
            return Node([child.copy() for child in self.value], self.mark, self.replaced)
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


def read(path: Path) -> Node:
    """The file as a mapping; SpecError for anything that is not one."""
    text = _text(path)
    parse = parse_toml if path.suffix.lower() == ".toml" else parse_yaml
    return parse(text, str(path))


def _text(path: Path) -> str:
    start = Mark(str(path))
    try:
        if path.is_dir():
            specs = sorted(p.name for p in path.iterdir() if p.suffix in SUFFIXES)
            hint = f"It holds {', '.join(specs[:8])}." if specs else ""
            raise SpecError(Problem("is a directory, not a spec", hint, start))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # no more: a device has no end
    except FileNotFoundError as error:
        raise SpecError(Problem("there is no such file", _nearby(path), start)) from error
    except OSError as error:
        raise SpecError(Problem(f"cannot be read: {(error.strerror or str(error)).lower()}", "", start)) from error
    if len(data) > MAX_BYTES:
        hint = "Large arrays belong in files that `data` names."
        raise SpecError(Problem(f"is longer than {MAX_BYTES:,} bytes, the most that a spec has", hint, start))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SpecError(Problem("is not a text file in UTF-8", "A spec is YAML or TOML.", start))
    if not text.strip():
        raise SpecError(Problem("is empty", "`dlx new` writes a spec to start from.", start))
    return text


def _nearby(path: Path) -> str:
    import difflib

    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either."
    specs = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES}
    near = difflib.get_close_matches(path.stem, specs, n=2, cutoff=0.6)
    return "Did you mean " + " or ".join(str(specs[n]) for n in near) + "?" if near else ""


# --- YAML -----------------------------------------------------------------------------------------------------------

_INT = re.compile(r"[-+]?[0-9][0-9_]*$")
_BASED = re.compile(r"0(o[0-7_]+|x[0-9a-fA-F_]+)$")
_FLOAT = re.compile(r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_TAG = "tag:yaml.org,2002:"


def plain_scalar(text: str) -> bool | int | float | str | None:
    """The YAML 1.2 core schema: what an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789" and not text.endswith("_") and "__" not in text:
        if _INT.match(text):
            return int(text) if len(text) < 400 else float(text)
        if _BASED.match(text):
            return int(text, 0)
        if _FLOAT.match(text):
            return float(text)
    return text


class _Yaml:
    """Builds nodes from the events of libyaml, without recursion and within bounds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node] = {}
        self.sizes: dict[int, int] = {}  # of anchored nodes: a use of an alias counts as its whole content
        self.count = 0
        self.documents = 0
        self.stack: list[
            tuple[Node, list[Any]]
        ] = []  # open collections, with [pending key, its mark, count at start]
        self.root: Node | None = None
        self.problems: list[Problem] = []

    def fail(self, message: str, mark: Mark, hint: str = "") -> SpecError:
        return SpecError(*self.problems, Problem(message, hint, mark))

    def feed(self, event: Any) -> None:
        mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fail("a second document starts here", mark, "A spec is one document: drop the `---`.")
        if not isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            return
        if isinstance(event, yaml.CollectionEndEvent):
            self.close()
        else:
            self.open_or_place(event, mark)

    def open_or_place(self, event: Any, mark: Mark) -> None:
        self.count += 1
        if isinstance(event, yaml.AliasEvent):
            node = self.alias(str(event.anchor), mark)
        elif isinstance(event, yaml.ScalarEvent):
            node = Node(self.scalar(event, mark), mark)
        else:
            node = Node({} if isinstance(event, yaml.MappingStartEvent) else [], mark)
            self.check_tag(event.tag, mark, ("map", "seq"))
        if self.count > MAX_VALUES:
            raise self.fail(f"holds more than {MAX_VALUES:,} values", mark, "Repeats belong in `repeat` or `for`.")
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self.anchors[event.anchor] = node
            self.sizes[id(node)] = 1
        self.place(node, event)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self.stack) >= MAX_DEPTH:
                raise self.fail(f"is nested more than {MAX_DEPTH} deep", mark)
            self.stack.append((node, [None, None, self.count]))

    def alias(self, anchor: str, mark: Mark) -> Node:
        if anchor not in self.anchors:
            raise self.fail(f"`*{anchor}` stands for nothing: there is no `&{anchor}` before it", mark)
        node = self.anchors[anchor]
        if any(node is open_node for open_node, _ in self.stack):
            raise self.fail(f"`*{anchor}` contains itself", mark)
        self.count += self.sizes[id(node)]
        return node

    def close(self) -> None:
        node, (_, _, start) = self.stack.pop()
        if id(node) in self.sizes:
            self.sizes[id(node)] = self.count - start + 1

    def place(self, node: Node, event: Any) -> None:
        if not self.stack:
            self.root = node
            return
        parent, state = self.stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
            return
        assert isinstance(parent.value, dict)
        if state[0] is None:
            if not isinstance(event, yaml.ScalarEvent):
                hint = 'An expression inside {...} or [...] wants quotes: {width: "${w}"}.'
                raise self.fail("a key must be a word", node.mark, hint)
            state[0], state[1] = event.value, node.mark
            return
        key, mark = state[0], state[1]
        state[0] = None
        if key in parent.value:
            first = parent.value[key].mark
            message = f"`{key}` is given twice, first on line {first.line}"
            self.problems.append(Problem(message, "Keep one of the two.", mark))
            return
        parent.value[key] = node
        if not isinstance(event, yaml.AliasEvent):  # an aliased value keeps the place where it was written
            node.mark = mark

    def scalar(self, event: Any, mark: Mark) -> bool | int | float | str | None:
        text: str = event.value
        if not event.style and event.tag is None:
            return plain_scalar(text)
        return text if self.check_tag(event.tag, mark, ("str",)) is None else _convert(event.tag, text)

    def check_tag(self, tag: str | None, mark: Mark, harmless: tuple[str, ...]) -> str | None:
        """None where a tag changes nothing."""
        if tag is None or tag == "!" or (tag.startswith(_TAG) and tag.removeprefix(_TAG) in harmless):
            return None
        if tag.removeprefix(_TAG) in {"int", "float", "bool", "null"}:
            return tag
        raise self.fail(f"the tag `{tag.replace(_TAG, '!!')}` has no meaning in a spec", mark, "Drop the tag.")


def _convert(tag: str, text: str) -> bool | int | float | str | None:
    value = plain_scalar(text)
    return float(value) if tag == _TAG + "float" and isinstance(value, int) else value


def parse_yaml(text: str, file: str) -> Node:
    """A YAML 1.2 document that is a mapping."""
    reader = _Yaml(file)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            reader.feed(event)
    except yaml.YAMLError as error:
        raise _yaml_error(error, text, file) from error
    return _checked(reader.root, reader.problems, file)


def _yaml_error(error: yaml.YAMLError, text: str, file: str) -> SpecError:
    place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    mark = Mark(file, place.line + 1, place.column + 1) if place else Mark(file, 1, 1)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).split("\n")[0]
    hint = _way_out(what, text.split("\n")[: mark.line])
    return SpecError(Problem(f"is not valid YAML: {what}", hint, mark))


_NO_SPACE = re.compile(r"\s*(?:- )?([\w.]+):[^\s/:]")
_NO_COLON = re.compile(r"\s*(\w+)$|\s*- (\w+) *\{.*$")
_BARE = re.compile(r"\s*- (\w+)\n\s*(?:name|from|when|values|tie):")


def _way_out(what: str, lines: list[str]) -> str:
    """A hint from the last lines before the mistake: libyaml often notices one a line late."""
    line = lines[-1] if lines else ""
    written = [(n, text.partition("#")[0].rstrip()) for n, text in enumerate(lines, start=1)]
    before = [(n, text) for n, text in written if text.strip()][-2:]
    if "\t" in line:
        return "YAML indents with spaces; this line has a tab."
    if "${" in line:
        return 'An expression inside {...} or [...] wants quotes: {width: "${w}"}.'
    for number, text in before:
        if found := _NO_SPACE.match(text):
            return f"Line {number}: put a space behind `{found[1]}:`."
    for number, text in before:
        below = f"\n{before[-1][1]}" if number < before[-1][0] else ""
        if found := _NO_COLON.match(text) or _BARE.match(text + below):
            return f"Line {number}: put a colon behind `{found[found.lastindex or 0]}`."
    if "mapping values" in what or "expected <block end>" in what or "expected key" in what:
        return f"Line {len(lines)} is indented unlike the lines around it, or has a second `:`, which wants quotes."
    return "Is a bracket, brace or quote above it not closed?" if "expected ','" in what else ""


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


# --- TOML -----------------------------------------------------------------------------------------------------------

_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def parse_toml(text: str, file: str) -> Node:
    """A TOML document."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.match(str(error))
        lines = text.split("\n")
        where = (int(found[2]), int(found[3])) if found and found[2] else (len(lines), len(lines[-1]) + 1)
        message = f"is not valid TOML: {found[1] if found else error}"
        raise SpecError(Problem(message, "", Mark(file, *where))) from error
    except RecursionError as error:
        raise SpecError(Problem(f"is nested more than {MAX_DEPTH} deep", "", Mark(file, 1, 1))) from error
    marks = {path: Mark(file, *place) for path, place in key_marks(text).items()}
    return _from_toml(values, (), marks, Mark(file, 1, 1))


def _from_toml(value: Any, path: tuple[str | int, ...], marks: dict[tuple[str | int, ...], Mark], near: Mark) -> Node:
    if len(path) > MAX_DEPTH:
        raise SpecError(Problem(f"is nested more than {MAX_DEPTH} deep", "", near))
    mark = marks.get(path, near)
    below: Callable[[Any, str | int], Node] = lambda child, key: _from_toml(child, (*path, key), marks, mark)  # noqa: E731
    if isinstance(value, dict):
        return Node({key: below(child, key) for key, child in value.items()}, mark)
    if isinstance(value, list):
        return Node([below(child, index) for index, child in enumerate(value)], mark)
    if not isinstance(value, bool | int | float | str):
        raise SpecError(Problem("a spec has no dates and times", "Put it in quotes.", mark))
    return Node(value, mark)
