"""Shell completion of specs, kinds and runs. Imports little, and prints nothing on errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import typer

from ..spec import shipped

KIND = re.compile(r'^    kind: ClassVar\[str\] = "(\w+)"', re.MULTILINE)
PLAIN = re.compile(r"[\w./@%+=:,~-]+")
"""Names that a shell reads as one word without quotes."""
DEEPEST = 16
LAST = "last"


def specs(incomplete: str) -> list[str]:
    """Return shipped specs by name, files that may be specs, and folders."""
    return _descended(incomplete, lambda prefix: {*_files(prefix, shipped.SUFFIXES), *_shipped(prefix)})


def shipped_folders(incomplete: str) -> list[str]:
    return [name for name in shipped.folders() if name.startswith(incomplete)]


def starters(incomplete: str) -> list[str]:
    from ..spec import starter

    own = [name for name in starter.names() if name.startswith(incomplete)]
    return own + _descended(incomplete, _shipped)


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of `dlx layers KIND`, read from the source texts."""
    from ..reference.vocabulary import STRUCTURES

    found = {
        *STRUCTURES,
        *(kind for path in shipped.PACKAGE.rglob("*.py") for kind in KIND.findall(path.read_text())),
    }
    return sorted(kind for kind in found if kind.startswith(incomplete))


def samplers(incomplete: str) -> list[str]:
    folder = shipped.PACKAGE / "sweeps" / "samplers"
    found = (kind for path in folder.glob("*.py") for kind in KIND.findall(path.read_text()))
    return sorted(kind for kind in found if kind.startswith(incomplete))


def baselines(incomplete: str) -> list[str]:
    folder = shipped.PACKAGE / "baselines"
    found = (kind for path in folder.glob("*.py") for kind in KIND.findall(path.read_text()))
    return sorted(kind for kind in found if kind.startswith(incomplete))


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return `last` and the runs in the folder of --runs by `name/id`, newest first; else folders."""
    root = Path(context.params.get("runs") or "runs")
    found = sorted(root.glob("*/*/spec.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    named = [path.parent.relative_to(root).as_posix() for path in found]
    names = [name for name in ([LAST] if named else []) + named if name.startswith(incomplete)]
    return names or _descended(incomplete, lambda prefix: _files(prefix, ()))


def _descended(incomplete: str, level: Callable[[str], Iterable[str]]) -> list[str]:
    """Return the candidates for `incomplete`; a folder that is the only one is replaced by its content."""
    found = sorted(set(level(incomplete)))
    for _ in range(DEEPEST):
        if len(found) != 1 or not found[0].endswith("/"):
            break
        found = sorted(set(level(found[0])))
    return found


def _files(prefix: str, suffixes: Iterable[str]) -> Iterator[str]:
    """Yield files with one of the suffixes, and folders with a `/`, whose path begins with `prefix`."""
    above, slash, start = prefix.rpartition("/")
    folder = Path(above + slash or ".").expanduser()
    if folder.is_dir():
        for entry in os.scandir(folder):
            hidden = entry.name.startswith(".") and not start.startswith(".")
            if hidden or not entry.name.startswith(start) or not PLAIN.fullmatch(entry.name):
                continue
            if entry.is_dir():
                yield f"{above}{slash}{entry.name}/"
            elif Path(entry.name).suffix in suffixes:
                yield f"{above}{slash}{entry.name}"


def _shipped(prefix: str) -> Iterator[str]:
    """Yield names of shipped specs, and of their folders with a `/`, one level below `prefix`."""
    depth = prefix.count("/") + 1
    for name in shipped.names():
        if name.startswith(prefix):
            words = name.split("/")
            yield "/".join(words[:depth]) + "/" * (len(words) > depth)


def analyses(incomplete: str) -> list[str]:
    folder = shipped.PACKAGE / "analysis" / "kinds"
    found = (kind for path in folder.rglob("*.py") for kind in KIND.findall(path.read_text()))
    return sorted(kind for kind in found if kind.startswith(incomplete))
