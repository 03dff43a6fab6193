"""The text of a plugin: found by file or module, and its digest. Nothing runs."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import Mark, Problem, SpecError
from ..utils import files

FOLDER = "plugins"
"""The section of a spec, and the folder of a run that keeps the copies."""
MOST_FILES, MOST_BYTES = 1000, 10_000_000
"""Of a package that is kept in a run folder."""


@dataclass(frozen=True)
class Entry:
    """One item of `plugins`: a file or a module, where it is written, and the digest that it must have, if any."""

    text: str
    folder: Path
    """Where a relative path starts."""
    mark: Mark
    is_module: bool = False
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """The file, where it is one."""
        return self.folder / Path(self.text).expanduser()


@dataclass(frozen=True)
class Sources:
    """The Python files of a plugin by their paths below `root`: one, or all of the package that holds `main`."""

    root: Path
    main: str
    texts: Mapping[str, bytes]

    @property
    def is_package(self) -> bool:
        return "/" in self.main

    @property
    def path(self) -> Path:
        return self.root / self.main

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        if self.is_package:
            return self.main.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        return f"dlx_plugin_{self.digest[:16]}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file; of a package, of the names and SHA-256 of its files."""
        each = {name: hashlib.sha256(text).hexdigest() for name, text in sorted(self.texts.items())}
        if not self.is_package:
            return each[self.main]
        listed = "".join(f"{sha256}  {name}\n" for name, sha256 in each.items())
        return hashlib.sha256(f"{listed}{self.main}\n".encode()).hexdigest()


def sources_of(entry: Entry) -> Sources:
    """The text of a plugin. SpecError where there is none; nothing runs."""
    try:
        path = _module_file(entry) if entry.is_module else _file(entry)
        return read(path, entry)
    except OSError as error:
        raise wrong(entry, f"{entry.text} cannot be read: {files.reason(error)}") from error


def wrong(entry: Entry, message: str, hint: str = "") -> SpecError:
    return SpecError(Problem(message, hint, entry.mark, FOLDER))


def _file(entry: Entry) -> Path:
    path = entry.path
    if path.is_dir():
        inside = sorted(one.name for one in path.glob("*.py"))
        hint = f"Name a file of it: {entry.text.rstrip('/')}/{inside[0]}." if inside else "It holds no Python file."
        raise wrong(entry, f"{entry.text} is a folder, and a plugin is a file or a module", hint)
    if not path.exists():
        there = sorted(one.name for one in path.parent.glob("*.py")) if path.parent.is_dir() else []
        hint = f"{shown(path.parent)} holds {', '.join(there[:6])}." if there else ""
        raise wrong(entry, f"there is no file {shown(path)}", hint or "Paths start at the file that writes them.")
    if path.suffix != ".py":
        raise wrong(entry, f"{entry.text} is no Python file", "The name of one ends in `.py`.")
    return files.regular(path.resolve())


def _module_file(entry: Entry) -> Path:
    top, *rest = entry.text.split(".")
    if top == "dlx":
        raise wrong(entry, f"{entry.text} is dlx's own", "Its kinds are there without it.")
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None:
        file = entry.folder / f"{entry.text.replace('.', '/')}.py"
        hint = f"Did you mean {file.relative_to(entry.folder)}?" if file.is_file() else "Is its package installed?"
        if (entry.folder / entry.text).exists():
            hint = "A plugin file ends in `.py`."
        raise wrong(entry, f"there is no module `{entry.text}` to import", hint)
    if found.origin is None:
        hint = f"Give it an `__init__.py`, or name the file: {'/'.join([top, *rest])}.py."
        raise wrong(entry, f"`{top}` is a folder without an `__init__.py`, of which a run could keep no copy", hint)
    origin = Path(found.origin)
    if origin.suffix != ".py" or not origin.is_file():
        raise wrong(entry, f"`{top}` is no Python file, of which a run could keep a copy")
    if not rest:
        return origin.resolve()
    base = origin.resolve().parent.joinpath(*rest)
    for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if found.submodule_search_locations is not None and path.is_file():
            return path
    raise wrong(entry, f"there is no module `{entry.text}`: {shown(base)}.py does not exist")


def read(path: Path, entry: Entry) -> Sources:
    """A file, or the package that it is part of: every folder above it that has an `__init__.py`."""
    root = path.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        root = root.parent
    main = path.relative_to(root).as_posix()
    if "/" not in main:
        return Sources(root, main, {main: files.read(path, MOST_BYTES)})
    top = root / main.partition("/")[0]
    there = [one for one in sorted(top.rglob("*.py")) if one.is_file()]
    if len(there) > MOST_FILES or sum(one.stat().st_size for one in there) > MOST_BYTES:
        hint = f"Put the kinds into a package of their own, or one of at most {MOST_FILES:,} files and 10 MB."
        raise wrong(entry, f"the package `{top.name}` is too large to be kept with each run", hint)
    return Sources(root, main, {one.relative_to(root).as_posix(): one.read_bytes() for one in there})


def shown(path: Path) -> str:
    """A path as messages have it: from the working directory where it lies below that."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def place_of(cls: type, sources: Sources | None = None) -> Mark:
    """The file and line of a class."""
    module = sys.modules.get(cls.__module__)
    path = Path(str(getattr(module, "__file__", None) or "?"))
    try:
        held = {str(sources.root / name): text for name, text in sources.texts.items()} if sources is not None else {}
        tree = ast.parse(held.get(str(path)) or files.read(path))
    except (OSError, SyntaxError, ValueError):
        return Mark(shown(path))
    lines = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
    return Mark(shown(path), lines[0] if lines else 0)
