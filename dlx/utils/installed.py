"""What installed packages announce, without `importlib.metadata`: it reads its files by the parser of e-mails, whose
import takes longer than all of those files.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple


class EntryPoint(NamedTuple):
    """A module that a package announces, or a name in it."""

    module: str
    attr: str

    def load(self) -> Any:
        """Import the module and return what is announced."""
        return reduce(getattr, filter(None, self.attr.split(".")), importlib.import_module(self.module))


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, as `importlib.metadata.entry_points` does."""
    finders = [one for one in sys.meta_path if hasattr(one, "find_distributions")]
    if finders != [PathFinder] or any(map(_is_archive, sys.path)):
        from importlib import metadata  # packages that are no folders

        return [EntryPoint(one.module, one.attr or "") for one in metadata.entry_points(group=group)]
    return [entry for text in _files() if f"[{group}]" in text for entry in _in_section(text, group)]


def _is_archive(place: str) -> bool:
    return place.lower().endswith(".egg") or os.path.isfile(place)  # noqa: PTH113 - False too where it may not be asked


def _files() -> Iterator[str]:
    """Yield the files of entry points, one of each package: that on the first place where it is."""
    seen = set[str]()
    for place in map(Path, dict.fromkeys(sys.path)):
        names: list[str] = []
        with suppress(OSError):  # it is not there, or may not be read: nothing is imported from it
            names = os.listdir(place)  # noqa: PTH208 - of hundreds few become paths
        for name in names:
            package = re.sub(r"[-_.]+", "_", name.lower().rpartition(".")[0].partition("-")[0])
            if name.lower().endswith((".dist-info", ".egg-info")) and package not in seen:
                seen.add(package)
                with suppress(OSError):
                    yield Path(place, name, "entry_points.txt").read_text("utf-8")


def _in_section(text: str, group: str) -> Iterator[EntryPoint]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == group and line and not line.startswith("#"):
            module, _, attr = line.partition("=")[2].partition("[")[0].partition(":")
            yield EntryPoint(module.strip(), attr.strip())


class _NoPlugins(ModuleType):
    """Stands for the module by which pydantic looks for its plugins; anything else is asked of that module itself."""

    @staticmethod
    def get_plugins() -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def without_pydantic_plugins() -> None:
    """Let pydantic look for no plugins, as it would in all packages, unless the user wants them."""
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") == "__all__":
        name = "pydantic.plugin._loader"
        sys.modules.setdefault(name, _NoPlugins(name))
