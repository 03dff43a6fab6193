"""Specs that are not in a file: a YAML or TOML text, or a mapping of Python, as nodes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import Mark, Problem, SpecError
from ..utils.passwords import mask_and_remember
from .syntax.nodes import MAX_DEPTH, MAX_VALUES, Node, refuse_out_of_range
from .syntax.read import parsed

TEXT: Final = Path("<text>")
MAPPING: Final = Path("<dict>")
"""Names in messages and in `lock.json` of a spec without a file; its paths start at the working directory."""

NAMES: Final[Mapping[Path, str]] = {TEXT: "text", MAPPING: "dict"}
"""Names of runs of a spec that has neither a file nor a `name`."""

SCALARS = "numbers, texts, true, false, None, lists and mappings"
_TOML = re.compile(r"\s*(?:\[{1,2}\s*[\w.\"' -]+\]{1,2}|[\w.\"'-]+\s*=)")
"""Beginning of the first line of a TOML document."""


def is_text(value: str) -> bool:
    """Whether a string is a spec and not the path of one: it has a line break, or a colon before a space."""
    return "\n" in value or ": " in value


def text_root(text: str) -> Node:
    """Parse a YAML or TOML text. SpecError with line and column where it is malformed."""
    if not text.strip():
        raise SpecError(Problem("is empty", "`dlx new` writes a spec to start from.", Mark(str(TEXT))))
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return parsed(text, str(TEXT), is_toml=bool(_TOML.match(next(lines, ""))))


def mapping_root(mapping: Mapping[Any, Any]) -> Node:
    """Convert a mapping of plain values to nodes. SpecError with the key of each value that no spec can have."""
    builder = _Builder()
    root = builder.node(mapping, "", 0)
    if builder.problems:
        raise SpecError(*builder.problems)
    return root


def plain(value: Any) -> Any:
    """Convert a scalar or array of another library, or a path, to a plain value; return any other as it is."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist") and not isinstance(value, type):
        return value.tolist()
    return value


class _Builder:
    """Builder of nodes from plain values, at most MAX_VALUES of them."""

    def __init__(self) -> None:
        self.mark = Mark(str(MAPPING))
        self.count = 0
        self.problems: list[Problem] = []

    def node(self, value: Any, path: str, depth: int) -> Node:
        self.count += 1
        if self.count > MAX_VALUES:
            hint = "Repeats belong in `repeat` or `for`, large arrays in files that `data` names."
            raise SpecError(*self.problems, Problem(f"holds more than {MAX_VALUES:,} values", hint, self.mark))
        if depth > MAX_DEPTH:
            raise SpecError(*self.problems, Problem(f"is nested more than {MAX_DEPTH} deep", "", self.mark, path))
        value, mark = plain(value), Mark(str(MAPPING), order=self.count)
        if isinstance(value, Mapping):
            return Node(self.children(value, path, depth), mark)
        if isinstance(value, list | tuple):
            return Node([self.node(item, f"{path}.{i}", depth + 1) for i, item in enumerate(value)], mark)
        if not (value is None or isinstance(value, bool | int | float | str)):
            message = f"a spec holds {SCALARS}, and no {type(value).__name__}"
            self.problems.append(Problem(message, "", mark, path))
            return Node(None, mark)
        refuse_out_of_range(value, mark, path)
        return Node(mask_and_remember(value) if isinstance(value, str) and "${" not in value else value, mark)

    def children(self, mapping: Mapping[Any, Any], path: str, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key, value in mapping.items():
            below = f"{path}.{key}".lstrip(".")
            if isinstance(key, bool) or not isinstance(key, str | int):
                message = f"a key must be a word, and `{key!r}` is of type {type(key).__name__}"
                self.problems.append(Problem(message, "", self.mark, path))
                continue
            if str(key) in found:
                message = f"`{key}` stands there twice, as a word and as a number"
                self.problems.append(Problem(message, "Keep one of the two.", self.mark, below))
            found[str(key)] = self.node(value, below, depth + 1)
        return found
