"""Merge of several files into one spec: Hydra's `defaults` list and config groups. Each value keeps its own mark.

    defaults:
      - base                # another spec, merged here
      - data: mnist1d       # the file data/mnist1d.yaml, as the section `data`
      - _self_              # this file; last where it is not named

Files are looked for in the folder of the spec, then in each folder above it, then in ./specs, then among the specs
that dlx ships.
All are read before any is merged: which sections another kind replaces is known once their `plugins` have run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import Mark, Problem, SpecError, did_you_mean
from . import shipped, version
from .plugin_list import PLUGINS, taken
from .sections.expect import CLAIMING
from .sections.kinds import are_networks, choice_at
from .syntax.read import SUFFIXES, Node, read
from .validation import shown

MAX_FILES = 100
SELF = "_self_"


def compose(path: Path) -> Node:
    """Read the spec at `path` and merge its defaults under it. SpecError where a file is missing or malformed."""
    return files_of(path).merged()


def files_of(path: Path, root: Node | None = None) -> Files:
    """Read the spec at `path` and the files that its defaults name. SpecError where one is missing or malformed.

    `root` is its content where that is in no file; its defaults are looked for as those of a file at `path`.
    """
    return _Composer().spec(path, root=root)


def source(path: Path) -> str:
    """Return the `source` of the spec at `path`, or that of its defaults; empty without one."""
    node = compose(path).at("source")
    return "" if node is None else " ".join(str(node.value).split())


def group_file(group: str, option: str, spec: Path, mark: Mark) -> Node:
    """Read `group/option.yaml`, with its `plugins`, for an override of `spec` at `mark`."""
    found = _Composer().found(f"{group}/{option}", spec, (), mark, group)
    content, plugins = found.merged(), list(found.all_plugins())
    return Node(content.map | {PLUGINS: Node(plugins, plugins[0].mark)}, content.mark) if plugins else content


@dataclass(frozen=True)
class Files:
    """A file and those that its defaults name, in order. Not merged yet: that depends on the kinds of plugins."""

    own: Node
    plugins: list[Node] = field(default_factory=list)
    """The entries of `plugins` in the file itself."""
    parts: tuple[Files | None, ...] = (None,)
    """The files of `defaults` in order; None stands for the file itself."""
    group: str = ""
    """The section that its content becomes; `mark` is the place of that entry of `defaults`."""
    mark: Mark | None = None
    claims: bool = True
    """Whether its claims count."""

    def all_plugins(self) -> Iterator[Node]:
        """Yield the entries of `plugins` of all files, in the order of the merge."""
        for part in self.parts:
            yield from self.plugins if part is None else part.all_plugins()

    def merged(self) -> Node:
        """Merge all files, each into those before it, without `plugins`."""
        whole = self.own
        if self.parts != (None,):
            whole = Node({}, self.own.mark)
            for part in self.parts:
                whole = merge(whole, self.own if part is None else part.merged())
        if not self.claims:
            whole = Node({key: node for key, node in whole.map.items() if key not in CLAIMING}, whole.mark)
        return _nest(self.group, whole, self.mark or whole.mark) if self.group else whole


class _Composer:
    """Reader of a file and of those that it names, at most MAX_FILES in all."""

    def __init__(self) -> None:
        self.files = 0

    def spec(
        self,
        path: Path,
        above: tuple[Path, ...] = (),
        mark: Mark | None = None,
        group: str = "",
        root: Node | None = None,
    ) -> Files:
        """Read a file with its defaults, as the section `group` or a whole spec.

        `above` are the files that include it, `mark` is where the last one does.
        """
        self.files += 1
        mark = mark or Mark(str(path))
        # By its resolved path, so that a circle through symbolic links is found too.
        here = resolved(path)
        if here in above:
            chain = " -> ".join(p.name for p in (*above, path))
            raise SpecError(
                Problem(f"`defaults` run in a circle: {chain}", "Take one of them out.", mark, "defaults")
            )
        if self.files > MAX_FILES:
            raise SpecError(Problem(f"`defaults` name more than {MAX_FILES} files in all", "", mark, "defaults"))
        root = read(path) if root is None else root
        assert isinstance(root.value, dict)
        # the version of the spec itself is that of what is merged: an override may set it
        if above and not group and (of_other_version := version.problems(root)):
            raise SpecError(*of_other_version)
        # Taken out: a composed spec has no defaults left, and is composed again to itself.
        listed = root.value.pop("defaults", None)
        own = Files(root, taken(root, group))
        return own if listed is None else replace(own, parts=self.parts(listed, path, (*above, here)))

    def parts(self, listed: Node, path: Path, above: tuple[Path, ...]) -> tuple[Files | None, ...]:
        """Read the entries of `defaults` in their order. SpecError with the problems of all entries."""
        found: list[Files | None] = []
        problems: list[Problem] = []
        for entry in _with_self(listed):
            try:
                found.append(None if entry.value == SELF else self.part(entry, path, above))
            except SpecError as error:
                problems += error.problems
                if self.files > MAX_FILES:
                    break
        if problems:
            raise SpecError(*problems)
        return tuple(found)

    def part(self, entry: Node, path: Path, above: tuple[Path, ...]) -> Files:
        """Read one entry of `defaults`, without its claims, which are about the spec that states them."""
        if isinstance(entry.value, str) and entry.value:
            return replace(self.found(entry.value, path, above, entry.mark), claims=False)
        group, option = next(iter(entry.map.items()), ("", entry))
        if (
            len(entry.map) != 1
            or not re.fullmatch(r"\w[\w/.-]*", group)
            or option.is_list
            or option.is_map
            or option.value == ""
        ):
            message = f"an entry of `defaults` must be a file or `group: option`, not {shown(entry.plain())}"
            hint = "Write `- base` or `- data: mnist1d`; what stands below goes on top."
            raise SpecError(Problem(message, hint, entry.mark, "defaults"))
        # `- data: null` takes no option of the group, as in Hydra.
        if option.value is None:
            return Files(Node({}, entry.mark))
        found = self.found(f"{group}/{option.value}", path, above, option.mark, group)
        return replace(found, group=group, mark=option.mark)

    def found(self, name: str, path: Path, above: tuple[Path, ...], mark: Mark, group: str = "") -> Files:
        file = find(name, path)
        if file is None:
            raise SpecError(missing(name, path, mark))
        return self.spec(file, above, mark, group)


def _with_self(listed: Node) -> list[Node]:
    """Return the entries of `defaults`, with `_self_` last where it is not named."""
    if not listed.is_list:
        message = f"`defaults` must be a list, not {shown(listed.plain())}"
        raise SpecError(Problem(message, "Write `- base` or `- data: mnist1d`.", listed.mark, "defaults"))
    selves = [entry for entry in listed.list if entry.value == SELF]
    if len(selves) > 1:
        line = selves[0].mark.line
        message = f"`defaults` names {SELF} twice{f', first on line {line}' if line else ''}"
        raise SpecError(Problem(message, "Keep one of the two.", selves[1].mark, "defaults"))
    return listed.list if selves else [*listed.list, Node(SELF, listed.mark)]


def _nest(group: str, content: Node, mark: Mark) -> Node:
    """Wrap a node in the mappings of a group: `a/b` gives `{a: {b: content}}`."""
    # From the innermost key outwards.
    for key in reversed(group.split("/")):
        content = Node({key: content}, mark)
    return content


def find(name: str, spec: Path) -> Path | None:
    """Find the file `name`, with or without its suffix, on the search path of `spec`; None where there is none."""
    for folder in search_path(spec):
        for candidate in [folder / name] + [folder / f"{name}{suffix}" for suffix in SUFFIXES]:
            with suppress(OSError):  # a name that no file can have, a folder that may not be read
                if candidate.suffix in SUFFIXES and candidate.is_file():
                    return candidate
    return None


def specs_in(folder: Path) -> list[Path]:
    """List the YAML and TOML files of a folder; empty where it cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError:  # no folder, none that may be read, or a name that no folder can have
        return []


def resolved(path: Path) -> Path:
    """Resolve the links of a path; the absolute path itself where they form a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: before Python 3.13
        return path.absolute()


def search_path(spec: Path) -> list[Path]:
    """Return the folders in which files named by `spec` are looked for, in order."""
    here = resolved(spec).parent
    last = [Path.cwd() / "specs", *([root] if (root := shipped.folder()) is not None else [])]
    inside = [folder for folder in (here, *here.parents) if shipped.apparent_path(folder) != folder]
    start = shipped.apparent_path(here)
    return list(dict.fromkeys([*inside, start, *start.parents, *last]))


def missing(name: str, spec: Path, mark: Mark) -> Problem:
    """Return the problem of a file that `spec` names and that is not on its search path."""
    group = Path(name).parent
    options = {p.stem for folder in search_path(spec)[:3] for p in specs_in(folder / group)}
    hint = did_you_mean(Path(name).name, options - {spec.stem})
    if Path(name).suffix in {".yaml", ".yml", ".toml"}:
        hint = f"It is named without its ending: `{Path(name).with_suffix('')}`."
    looked = f"Looked in {spec.parent}, the folders above it, ./specs, and the specs that dlx ships."
    return Problem(f"there is no file {name}.yaml or {name}.toml", f"{hint} {looked}".strip(), mark, "defaults")


def _with_history(base: Node, over: Node) -> Node:
    """Return `over` with `base` at the end of its chain of replaced nodes."""
    return Node(over.value, over.mark, _with_history(base, over.replaced) if over.replaced is not None else base)


def merge(base: Node, over: Node, path: tuple[str, ...] = ()) -> Node:
    """Merge `over` into `base`: mappings join key by key, anything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return _with_history(base, over)
    # A section that chooses a kind is replaced as a whole by another kind: their options have nothing in common.
    joins = are_networks(base, path) and are_networks(over, path)
    if not joins and choice_at(path) is not None and set(base.value) != set(over.value):
        return _with_history(base, over)
    joined = dict(base.value)
    for key, child in over.value.items():
        joined[key] = merge(joined[key], child, (*path, key)) if key in joined else child
    return Node(joined, over.mark)
