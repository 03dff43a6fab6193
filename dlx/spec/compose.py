"""Several files to one: Hydra's `defaults` list and config groups, with every value keeping its own place.

    defaults:
      - base                # another spec, merged here
      - data: mnist1d       # the file data/mnist1d.yaml, as the section `data`
      - _self_              # this file; last where it is not named

Files are looked for in the folder of the spec, then in each folder above it, then in ./specs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data import DATASETS
from ..errors import Mark, Problem, SpecError, did_you_mean
from ..init import INITIALIZERS
from ..losses import LOSSES
from ..objectives import OBJECTIVES
from ..optim import OPTIMIZERS
from ..registry import Registry
from ..schedules import SCHEDULES
from .located import Node, read

CHOICES: dict[tuple[str, ...], Registry[Any]] = {
    ("data",): DATASETS,
    ("objective",): OBJECTIVES,
    ("objective", "*", "loss"): LOSSES,
    ("init",): INITIALIZERS,
    ("train", "optimizer"): OPTIMIZERS,
    ("train", "schedule"): SCHEDULES,
}
"""Sections that hold one kind: another kind replaces the whole section instead of joining it."""
SUFFIXES = (".yaml", ".yml", ".toml")
MAX_FILES = 50


def compose(path: Path) -> Node:
    """The spec at `path` with its defaults merged in."""
    return _compose(path, ())


def _compose(path: Path, above: tuple[Path, ...]) -> Node:
    if path.resolve() in above:
        chain = " -> ".join(p.name for p in (*above, path))
        raise SpecError(Problem(f"`defaults` runs in a circle: {chain}", "Take one of them out.", Mark(str(path))))
    if len(above) >= MAX_FILES:
        raise SpecError(Problem(f"`defaults` go more than {MAX_FILES} files deep", "", Mark(str(path))))
    root = read(path)
    assert isinstance(root.value, dict)
    listed = root.value.pop("defaults", None)
    if listed is None:
        return root
    own = Node(root.value, root.mark)
    merged = Node({}, root.mark)
    for entry, is_self in _entries(listed):
        part = own if is_self else _part(entry, path, (*above, path.resolve()))
        merged = merge(merged, part)
    return merged


def _entries(listed: Node) -> Iterator[tuple[Node, bool]]:
    if not listed.is_list:
        raise SpecError(
            Problem("`defaults` is a list", "Write `- base` or `- data: mnist1d`.", listed.mark, "defaults")
        )
    named_self = any(entry.value == "_self_" for entry in listed.list)
    for entry in listed.list:
        yield entry, entry.value == "_self_"
    if not named_self:
        yield listed, True


def _part(entry: Node, path: Path, above: tuple[Path, ...]) -> Node:
    """What one entry of `defaults` brings."""
    if isinstance(entry.value, str):
        file = find(entry.value, path)
        if file is None:
            raise SpecError(missing(entry.value, path, entry.mark))
        return _compose(file, above)
    if entry.is_map and len(entry.map) == 1:
        group, option = next(iter(entry.map.items()))
        if option.value is None:
            return Node({}, entry.mark)
        if isinstance(option.value, str):
            return _under(group, group_file(group, option.value, path, option.mark, above), option.mark)
    raise SpecError(
        Problem(
            "an entry of `defaults` is a file or `group: option`", "Write `- base` or `- data: mnist1d`.", entry.mark
        )
    )


def group_file(group: str, option: str, path: Path, mark: Mark, above: tuple[Path, ...] = ()) -> Node:
    """The content of `group/option.yaml`."""
    file = find(f"{group}/{option}", path)
    if file is None:
        raise SpecError(missing(f"{group}/{option}", path, mark))
    return _compose(file, above)


def _under(group: str, content: Node, mark: Mark) -> Node:
    for key in reversed(group.split("/")):
        content = Node({key: content}, mark)
    return content


def find(name: str, spec: Path) -> Path | None:
    """The file called `name`, with or without its suffix, on the search path of `spec`."""
    for folder in search_path(spec):
        for candidate in [folder / name] + [folder / f"{name}{suffix}" for suffix in SUFFIXES]:
            if candidate.suffix in SUFFIXES and candidate.is_file():
                return candidate
    return None


def search_path(spec: Path) -> list[Path]:
    here = spec.resolve().parent
    return list(dict.fromkeys([here, *here.parents, Path.cwd() / "specs"]))


def missing(name: str, spec: Path, mark: Mark) -> Problem:
    group = Path(name).parent
    there = {p.stem for folder in search_path(spec)[:3] for p in (folder / group).glob("*") if p.suffix in SUFFIXES}
    hint = did_you_mean(Path(name).name, there - {spec.stem})
    looked = f"Looked in {spec.parent}, the folders above it, and ./specs."
    return Problem(f"there is no file {name}.yaml or {name}.toml", f"{hint} {looked}".strip(), mark, "defaults")


def choice_at(path: tuple[str, ...]) -> Registry[Any] | None:
    """What the section at `path` chooses from."""
    known = CHOICES.get(path)
    return known if known is not None else CHOICES.get((*path[:1], "*", *path[2:]))


def merge(base: Node, over: Node, path: tuple[str, ...] = ()) -> Node:
    """`over` on top of `base`: mappings join, anything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    if choice_at(path) is not None and set(base.value) != set(over.value):
        return over
    joined = dict(base.value)
    for key, child in over.value.items():
        joined[key] = merge(joined[key], child, (*path, key)) if key in joined else child
    return Node(joined, over.mark)
