"""Plugins run, each once in a process, and the kinds that they bring."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ..errors import DlxError, Mark, Problem, RunError, SpecError, first_line, with_article
from ..registry import FAMILIES, Collector, Declared, Registry, collected
from ..utils import files
from .announcements import announce
from .sources import FOLDER, Entry, Sources, place_of, read, shown, sources_of, wrong

BESIDE = ("name", "from", "when", "values", "tie", "index")
RESERVED = (*BESIDE, "residual", "parallel", "repeat", "for", "share", "layers")
"""Words that mean something else in an entry of a list of layers."""
STANDS_ALONE = "A plugin file is run by itself. Give the folder an `__init__.py`, and write `from .{0} import ...`."


class Digest(str):
    """The digest of a plugin that has run in this process: its file need not be read again, nor be there."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Plugin:
    """A plugin that has run: its text, and its kinds by family."""

    sources: Sources
    kinds: Mapping[str, Mapping[str, type[Declared]]]

    @property
    def digest(self) -> str:
        return self.sources.digest

    @property
    def name(self) -> str:
        """Its main file: `my_layers.py`, `mypackage/module.py`."""
        return self.sources.main

    def as_json(self) -> dict[str, Any]:
        """The object of JSON documents."""
        kinds = {family: sorted(kinds) for family, kinds in self.kinds.items() if kinds}
        return {"name": self.name, "sha256": self.digest, "kinds": kinds}


_loaded: dict[str, dict[str, Plugin]] = {}
"""Plugins of this process by digest and name; those of one digest have one module."""
_in_use: tuple[Plugin, ...] = ()
_of_packages: dict[str, list[tuple[Registry[Any], type[Any]]]] = {}
"""Kinds that modules of each package have defined so far: one module is imported once, whoever names it."""


def use(plugins: Sequence[Plugin]) -> None:
    """Make the kinds of these plugins, and of no others, those that registries find beside dlx's own."""
    global _in_use  # noqa: PLW0603 - the registries are global, too
    if tuple(plugins) == _in_use:
        return
    _in_use = tuple(plugins)
    for name, registry in FAMILIES.items():
        registry.from_plugins = MappingProxyType(
            {k: c for one in plugins for k, c in one.kinds.get(name, {}).items()}
        )


def in_use() -> list[str]:
    """The names of the plugins whose kinds registries find now."""
    return [one.name for one in _in_use]


def load(entries: Sequence[Entry]) -> list[tuple[Entry, Plugin]]:
    """Run what has not run yet; of several entries for one plugin, the first stays. SpecError with all mistakes."""
    found: dict[str, tuple[Entry, Plugin]] = {}
    problems: list[Problem] = []
    for entry in entries:
        try:
            plugin = _one(entry)
            if plugin.digest not in found:
                problems += _clashes(plugin, [one for _, one in found.values()])
                found[plugin.digest] = (entry, plugin)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(*problems)
    return list(found.values())


def _one(entry: Entry) -> Plugin:
    name = entry.text if entry.is_module else shown(entry.path)
    if isinstance(entry.sha256, Digest):
        announce(entry.sha256, name, entry.mark)
        there = _loaded[entry.sha256]
        return there.get(entry.path.name) or next(iter(there.values()))
    sources = sources_of(entry)
    if entry.sha256 not in {None, sources.digest}:
        was, now = str(entry.sha256)[:12], sources.digest[:12]
        message = f"the plugin {sources.main} has changed: its digest was {was}, and is {now}"
        raise SpecError(Problem(message, "Bring the old file back, or train anew.", entry.mark, FOLDER))
    announce(sources.digest, name, entry.mark)
    there = _loaded.get(sources.digest, {})
    if sources.main not in there:
        first = next(iter(there.values()), None)
        there[sources.main] = Plugin(sources, first.kinds) if first is not None else _run(sources, entry)
        _loaded[sources.digest] = there
    return there[sources.main]


def _run(sources: Sources, entry: Entry) -> Plugin:
    """Run a plugin and take in its kinds. SpecError with its file and line where that fails."""
    scope = sources.main.partition("/")[0] if sources.is_package else sources.module
    before = set(sys.modules)
    try:
        with collected(scope) as collector, redirect_stdout(sys.stderr), _without_working_directory():
            module = _import(sources, entry) if sources.is_package else _execute(sources)
    except (Exception, SystemExit) as error:
        for name in set(sys.modules) - before:
            if f"{name}.".startswith(f"{scope}."):
                del sys.modules[name]
        if (
            isinstance(error, DlxError)
            and not isinstance(error.__cause__, Exception)
            and _line(error, sources) is None
        ):
            raise
        raise SpecError(_failure(error, sources, entry)) from error
    if sources.is_package:
        collector.found = _of_packages.setdefault(scope, []) + collector.found
        _of_packages[scope] = collector.found
    return _taken_in(sources, module, collector, entry)


@contextmanager
def _without_working_directory() -> Iterator[None]:
    """`python -m dlx` finds modules in the working directory, of which a run would keep no copy; `dlx` does not."""
    first, here = sys.path[:1], str(Path.cwd())
    found = first in ([""], [here]) and here not in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if found:
        del sys.path[0]
    try:
        yield
    finally:
        if found:
            sys.path[:0] = first


def _execute(sources: Sources) -> ModuleType:
    """Run a plugin that is one file: the text whose digest was taken."""
    spec = importlib.util.spec_from_file_location(sources.module, sources.path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    code = compile(sources.texts[sources.main], str(sources.path), "exec", dont_inherit=True)
    sys.modules[sources.module] = module  # pydantic looks up the names of annotations there
    exec(code, module.__dict__)  # noqa: S102 - it is the file that the spec names
    return module


def _import(sources: Sources, entry: Entry) -> ModuleType:
    """Import a plugin that is part of a package, by the name that the package's own imports give it."""
    top = sources.main.partition("/")[0]
    there = sys.modules.get(top)
    if there is not None:
        path = Path(str(there.__file__)).resolve() if there.__file__ else Path()
        if path.parent != sources.root / top:
            main = path.parent.parent.joinpath(sources.main)
            if not main.is_file() or read(main, entry).digest != sources.digest:
                message = f"the package `{top}` of {shown(sources.root)} is another one than that in use"
                raise wrong(entry, f"{message}, {shown(path.parent)}", "One process takes one of the two.")
        return importlib.import_module(sources.module)
    sys.path.insert(0, str(sources.root))
    try:
        importlib.invalidate_caches()
        return importlib.import_module(sources.module)
    finally:
        sys.path.remove(str(sources.root))


def _line(error: BaseException, sources: Sources) -> Mark | None:
    """The last line of a plugin that an error passed through."""
    paths = {str(sources.root / name) for name in sources.texts}
    place, trace = None, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in paths:
            place = Mark(shown(Path(name)), trace.tb_lineno)
        trace = trace.tb_next
    return place


def _failure(error: BaseException, sources: Sources, entry: Entry) -> Problem:
    """Return the sentence about an error of a plugin that was to be run, at the line of the plugin."""
    named = f"It is named at {entry.mark}."
    mark = _line(error, sources) or Mark(shown(sources.path))
    if isinstance(error, SyntaxError) and error.filename is not None and _line(error, sources) is None:
        mark = Mark(shown(Path(error.filename)), error.lineno or 0, error.offset or 0)
        return Problem(f"is not valid Python: {error.msg}", named, mark, FOLDER)
    if isinstance(error, SystemExit):
        return Problem("ends the program (sys.exit) as it is imported", named, mark, FOLDER)
    text = f"raises {type(error).__name__} as it is imported: {first_line(error)}"
    if isinstance(error, ImportError):
        return Problem(text, _way_out(error, sources) or named, mark, FOLDER)
    return Problem(text, named, mark, FOLDER)


def _way_out(error: ImportError, sources: Sources) -> str:
    """Return the hint for an import that failed."""
    name = (error.name or "").partition(".")[0]
    if "relative import" in str(error):
        return STANDS_ALONE.format("module")
    if name and (sources.path.parent / f"{name}.py").is_file():
        return f"{name}.py lies beside it. {STANDS_ALONE.format(name)}"
    return f"Install `{name}` where dlx is installed." if isinstance(error, ModuleNotFoundError) and name else ""


def _taken_in(sources: Sources, module: ModuleType, collector: Collector, entry: Entry) -> Plugin:
    """The plugin with the kinds that it defines. SpecError with each that cannot stand."""
    problems: list[Problem] = []
    kinds: dict[str, dict[str, type[Declared]]] = {name: {} for name in FAMILIES}
    named = f"The file is named at {entry.mark}."
    for registry, cls in collector.found:
        mark = place_of(cls, sources)
        family = next(name for name, one in FAMILIES.items() if one is registry)
        why = _why_not(registry, cls, kinds[family])
        if why:
            problems.append(Problem(why, named, mark, FOLDER))
        else:
            kinds[family][cls.kind] = cls
    for cls in _fields_called_kind(module):
        message = f"`kind` is a field of `{cls.__name__}`, and no kind"
        problems.append(Problem(message, 'Write `kind: ClassVar[str] = "..."`.', place_of(cls, sources), FOLDER))
    if not problems and not any(kinds.values()) and not _brings_kinds(module):
        hint = 'A class for a spec derives from one of dlx, such as `Layer`, and has `kind: ClassVar[str] = "..."`.'
        problems.append(Problem("defines no kind", hint, Mark(shown(sources.path)), FOLDER))
    if problems:
        raise SpecError(*problems)
    return Plugin(sources, kinds)


def _why_not(registry: Registry[Any], cls: type[Declared], others: Mapping[str, type[Declared]]) -> str:
    """Why a class cannot be a kind; empty where it can."""
    kind: Any = cls.kind
    if not isinstance(kind, str) or not kind.isidentifier():
        return f"the kind of `{cls.__name__}` must be a word of letters, digits and `_`, not {kind!r}"
    if kind in others:
        return f"`{others[kind].__name__}` and `{cls.__name__}` are both called `{kind}`"
    if registry is FAMILIES["layer"] and kind in RESERVED:
        return f"a layer cannot be called `{kind}`, which means something else in a list of layers"
    origin = registry.origin(kind)
    if origin is None or origin.partition(".")[0] == cls.__module__.partition(".")[0]:  # its entry point
        return _mistake(cls)
    whose = "dlx has" if origin.partition(".")[0] == "dlx" else f"{origin.partition('.')[0]} has"
    return f"`{cls.__name__}` is called `{kind}`, and {whose} {with_article(registry.noun)} of that kind ({origin})"


def _mistake(cls: type[Declared]) -> str:
    try:
        cls.model_rebuild()
    except Exception as error:  # noqa: BLE001 - pydantic's and Python's, about its annotations
        return f"the fields of `{cls.__name__}` cannot be read: {first_line(error)}"
    mistake = cls.mistake()
    return f"`{cls.__name__}` {mistake}" if mistake else ""


def _clashes(plugin: Plugin, others: Sequence[Plugin]) -> Iterator[Problem]:
    """Kinds that another plugin has too."""
    for other in others:
        for family, kinds in plugin.kinds.items():
            for kind in sorted(kinds.keys() & other.kinds[family].keys()):
                if kinds[kind] is other.kinds[family][kind]:  # two modules of one package
                    continue
                mine, theirs = (
                    place_of(kinds[kind], plugin.sources),
                    place_of(other.kinds[family][kind], other.sources),
                )
                message = f"{with_article(FAMILIES[family].noun)} `{kind}` is defined here and at {theirs}"
                yield Problem(message, "Rename one of the two.", mine, FOLDER)


def _fields_called_kind(module: ModuleType) -> list[type[Declared]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Declared)]
    return [cls for cls in found if cls.__module__ == module.__name__ and "kind" in cls.model_fields]


def _brings_kinds(module: ModuleType) -> bool:
    """Whether a module has classes from elsewhere that have kinds: those are known already."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Declared)]
    return any("kind" in vars(cls) and not cls.__module__.startswith("dlx.") for cls in found)


def copies(plugins: Sequence[Plugin]) -> dict[str, Plugin]:
    """The plugins by the path of their copy in a run folder; a second file of one name gets a number."""
    found: dict[str, Plugin] = {}
    for one in plugins:
        name, number = one.name, 1
        while f"{FOLDER}/{name}" in found:
            number += 1
            name = f"{one.name.removesuffix('.py')}_{number}.py"
        found[f"{FOLDER}/{name}"] = one
    return found


def keep(folder: Path, plugins: Sequence[Plugin]) -> None:
    """Write the copies of plugins into a run folder, those that are there already apart."""
    for name, one in copies(plugins).items():
        base = folder / FOLDER
        each = one.sources.texts if one.sources.is_package else {name.removeprefix(f"{FOLDER}/"): _text_of(one)}
        for file, text in each.items():
            path = base / file
            if path.is_file() and path.read_bytes() == text:
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.replace(path, text)
            except OSError as error:
                raise RunError(f"{path} cannot be written: {files.reason(error)}") from error


def _text_of(plugin: Plugin) -> bytes:
    return plugin.sources.texts[plugin.sources.main]
