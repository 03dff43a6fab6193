"""Reader of spec files, YAML 1.2 and TOML, to nodes with marks."""

from __future__ import annotations

from pathlib import Path

from ...errors import Mark, Problem, SpecError
from ...utils import passwords
from ..shipped import SUFFIXES, similar_hint
from .nodes import BROKEN, MAX_DEPTH, MAX_VALUES, Broken, Node, located
from .scalars import plain_scalar
from .yaml_reader import parse_yaml

MAX_BYTES = 10_000_000
SHELL = ("/dev/", "/proc/")
"""Folders of the pipes that shells make for `<(COMMAND)`."""


def parse_toml(text: str, name: str) -> Node:
    """Parse a TOML document. Its reader is imported with the first one: most specs are YAML."""
    from . import toml_reader

    return toml_reader.parse_toml(text, name)


def read(path: Path) -> Node:
    """Read a spec file to a mapping, passwords of addresses masked. SpecError for anything else."""
    return parsed(_text(path), str(path), is_toml=path.suffix.lower() == ".toml")


def parsed(text: str, name: str, *, is_toml: bool = False) -> Node:
    """Parse a document to a mapping, passwords of addresses masked; `name` stands in messages and marks."""
    root = (parse_toml if is_toml else parse_yaml)(text, name)
    for node in root.walk():
        # What an expression puts together is checked once it is evaluated, in `sections/experiment`.
        if isinstance(node.value, str) and "${" not in node.value:
            node.value = passwords.mask_and_remember(node.value)
    return root


def _text(path: Path) -> str:
    start = Mark(str(path))
    try:
        if path.is_dir():
            specs = sorted(p.name for p in path.iterdir() if p.suffix in SUFFIXES)
            beside = [path.with_name(f"{path.name}{suffix}") for suffix in SUFFIXES if path.name]
            named = next((str(file) for file in beside if file.is_file()), "")
            hint = f"Did you mean {named}?" if named else f"It holds {', '.join(specs[:8])}." if specs else ""
            raise SpecError(Problem("is a directory, not a spec", hint, start))
        if path.is_fifo() and not str(path).startswith(SHELL):
            hint = "To open it would wait for its other end; `dlx inspect <(COMMAND)` reads what a command says."
            raise SpecError(Problem("is a named pipe, and no spec", hint, start))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # no more: a device has no end
    except FileNotFoundError as error:
        raise SpecError(Problem("there is no such file", similar_hint(path), start)) from error
    except OSError as error:
        raise SpecError(Problem(f"cannot be read: {(error.strerror or str(error)).lower()}", "", start)) from error
    if len(data) > MAX_BYTES:
        hint = "Large arrays belong in files that `data` names."
        raise SpecError(Problem(f"is longer than {MAX_BYTES:,} bytes, the most that a spec has", hint, start))
    try:
        # Editors on Windows write a byte order mark, which is no part of the text.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SpecError(Problem("is not a text file in UTF-8", "A spec is YAML or TOML.", start))
    if not text.strip():
        raise SpecError(Problem("is empty", "`dlx new` writes a spec to start from.", start))
    return text


__all__ = [
    "BROKEN",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "SUFFIXES",
    "Broken",
    "Node",
    "located",
    "parse_toml",
    "parse_yaml",
    "parsed",
    "plain_scalar",
    "read",
]
