"""Reports of specs with mistakes, as users see them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from dlx.errors import DlxError
from dlx.graph import trace
from dlx.spec import load


def report(folder: Path, text: str, *overrides: str, name: str = "s.yaml") -> str:
    """Return the report of a spec with mistakes, its file called `s.yaml`."""
    path = folder / name
    path.write_text(text)
    with pytest.raises(DlxError) as error:
        trace(load(path, overrides))
    return str(error.value).replace(f"{folder}/", "")


def of_layers(layers: str, inputs: str = "[3, 8, 8]", head: str = "") -> str:
    """Return a spec with `layers` from line 4 on, or later by the lines of `head`."""
    listed = indent(dedent(layers).strip("\n"), " " * 4)
    return f"{head}network:\n  inputs: {inputs}\n  layers:\n{listed}\n"


def layers_report(folder: Path, layers: str, inputs: str = "[3, 8, 8]", head: str = "") -> str:
    """Return the report of a spec whose `layers` have mistakes."""
    return report(folder, of_layers(layers, inputs, head))


def lines(text: str) -> str:
    """Return an indented text as lines of a report."""
    return dedent(text).strip("\n")
