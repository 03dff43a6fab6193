"""Specs that dlx ships, found by name (`zoo/gpt2`) from any folder.

A wheel holds them as `dlx/specs/`; an editable install reads the folder `specs/` of its clone.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..errors import Mark, Problem, SpecError, did_you_mean

PACKAGE = Path(__file__).resolve().parents[1]
SUFFIXES = (".yaml", ".yml", ".toml")
PARTS = ("parts", "data")
"""Names of folders of parts: files that specs include and that are no specs by themselves."""
SHOWN = 3


@cache
def folder() -> Path | None:
    """Return the folder of the shipped specs; None for an install without them."""
    inside, beside = PACKAGE / "specs", PACKAGE.parent / "specs"
    if inside.is_dir():
        return inside
    clone = (PACKAGE.parent / "pyproject.toml").is_file()  # else it is a `specs` of another package
    return beside if clone and beside.is_dir() else None


def names() -> list[str]:
    """Return the names of all shipped specs without parts, sorted."""
    return [name for name in _everything() if not is_part(name)]


def find(name: str | Path) -> Path | None:
    """Find the shipped spec `name`, with or without suffix and leading `specs/`; None where there is none."""
    file = _file(_name_of(name))
    return None if file is None or is_part(_name_of(name)) else file


def folders() -> list[str]:
    """Return the names of the folders of shipped specs, sorted."""
    return sorted({above for name in names() for above in _above(name)})


def specs_by_name(folder: str = "") -> dict[str, Path]:
    """Return the shipped specs of a folder, or all of them, by name. SpecError where there is no such folder."""
    name = _name_of(folder.rstrip("/")) if folder else ""
    found = {one: path for one, path in _everything().items() if not is_part(one)}
    inside = {one: path for one, path in found.items() if not name or one == name or one.startswith(f"{name}/")}
    if not inside:
        hint = did_you_mean(name, folders(), "folders")
        raise SpecError(Problem(f"dlx ships no folder of specs `{name}`", hint))
    return inside


def is_part(name: str) -> bool:
    """Whether a shipped file is a part of specs and no spec by itself."""
    return any(word in PARTS for word in name.split("/")[:-1])


def resolved(path: Path) -> Path:
    """Find the spec at `path`: a file of the user, with or without its suffix, else a shipped spec.

    `path` itself where there is neither. SpecError where a shipped part or folder has that name.
    """
    if (found := user_path(path) or find(path)) is not None:
        return found
    mark, name = Mark(str(path)), _name_of(path)
    if _file(name) is not None:
        raise SpecError(Problem(f"is a part of the specs that dlx ships, and no spec: {_use_of(name)}", "", mark))
    if name in folders():
        inside = [one for one in names() if one.startswith(f"{name}/")]
        more = ", ..." if len(inside) > SHOWN else ""
        hint = f"It holds {', '.join(inside[:SHOWN])}{more}; `dlx specs {name}` lists them."
        raise SpecError(Problem("is a folder of the specs that dlx ships, and no spec", hint, mark))
    return path


def user_path(path: Path) -> Path | None:
    """Find a file or folder of the user at `path`, or a spec by its name without suffix; None where there is none."""
    try:
        if path.exists():
            return path
        others = [] if path.suffix in SUFFIXES or not path.name else SUFFIXES
        return next((f for suffix in others if (f := path.with_name(f"{path.name}{suffix}")).is_file()), None)
    except OSError:  # a folder that may not be read, a name that is too long: told where it is read
        return path


def find_any(path: Path) -> Path | None:
    """Find a file or folder of the user, else a shipped spec or folder of specs; None where there is none."""
    if (found := user_path(path)) is not None:
        return found
    name, root = _name_of(path), folder()
    if root is None or name == "specs":
        return root
    return root / name if name in folders() else find(path)


def apparent_path(path: Path) -> Path:
    """Return the path of a file by which relative paths in it start: of a shipped one, in `specs/` of the cwd."""
    inside = PACKAGE / "specs"
    return Path.cwd() / "specs" / path.relative_to(inside) if path.is_relative_to(inside) else path


def _nearby(path: Path) -> str:
    """Return a hint at files in the folder of `path` with a similar name; empty without any."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either."
    specs = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES}
    near = difflib.get_close_matches(path.stem, specs, n=2, cutoff=0.6)
    return "Did you mean " + " or ".join(str(specs[n]) for n in near) + "?" if near else ""


def resolve_from(file: Path, path: Path) -> Path:
    """Resolve `path` as it is written in `file`."""
    # normalised, because the system follows `..` only from a folder that exists, and ./specs need not
    target = apparent_path(file).parent / path
    return target if apparent_path(file) == file else Path(os.path.normpath(target))


def _name_of(path: str | Path) -> str:
    """Return the name that a shipped spec at `path` would have: without suffix and the folder `specs`."""
    path = Path(path)
    path = path.with_suffix("") if path.suffix in SUFFIXES else path
    return path.as_posix().removeprefix("specs/")


def _file(name: str) -> Path | None:
    """Find the shipped file `name`, also a part; None where there is none."""
    return _everything().get(name)


@cache
def _everything() -> dict[str, Path]:
    """Return all shipped files by name, sorted."""
    root = folder()
    if root is None:
        return {}
    found = {path.relative_to(root).with_suffix("").as_posix(): path for path in _files(root)}
    return dict(sorted(found.items()))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path)
        elif path.suffix in SUFFIXES:
            yield path


def _above(name: str) -> list[str]:
    words = name.split("/")
    return ["/".join(words[:n]) for n in range(1, len(words))]


def _use_of(name: str) -> str:
    """Describe how specs use the part `name`."""
    folder_name, _, option = name.rpartition("/")
    above, _, group = folder_name.rpartition("/")
    if group == "data":
        return f"the specs of `{above}` take it as their data, `+data={option}`"
    return f"the specs of `{above}` bring it in by `defaults: [{group}/{option}]`"


def similar_hint(path: Path) -> str:
    """Return a hint at files in the folder of `path` and shipped specs with a similar name."""
    name = _name_of(path)
    last = name.rpartition("/")[2]
    similar = [one for one in names() if one.rpartition("/")[2] == last] or difflib.get_close_matches(
        name, names(), n=2, cutoff=0.6
    )
    beside = _nearby(path)
    if not similar:
        return beside
    shown = " or ".join(f"`{one}`" for one in similar[:SHOWN])
    return f"{beside} dlx ships {shown}." if beside.startswith("Did") else f"Did you mean {shown}, which dlx ships?"
