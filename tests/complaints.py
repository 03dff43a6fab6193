"""What is said of a spec that is wrong."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from dlx.errors import DlxError
from dlx.graph import trace
from dlx.spec import load


def report(folder: Path, text: str, *overrides: str, name: str = "s.yaml") -> str:
    """All that is said of a spec, its file called `s.yaml`."""
    path = folder / name
    path.write_text(text)
    with pytest.raises(DlxError) as error:
        trace(load(path, overrides))
    return str(error.value).replace(f"{folder}/", "")


def of_layers(layers: str, inputs: str = "[3, 8, 8]", head: str = "") -> str:
    """A spec with `layers` from line 4 on, or so many lines later as `head` has."""
    listed = indent(dedent(layers).strip("\n"), " " * 4)
    return f"{head}network:\n  inputs: {inputs}\n  layers:\n{listed}\n"


def told(folder: Path, layers: str, inputs: str = "[3, 8, 8]", head: str = "") -> str:
    """All that is said of a network."""
    return report(folder, of_layers(layers, inputs, head))


def lines(text: str) -> str:
    """An indented text as it is told."""
    return dedent(text).strip("\n")
