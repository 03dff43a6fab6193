"""What `dlx plot` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .console import document, out, say


def plotted(about: dict[str, Any], notes: Sequence[str], path: Path, as_json: bool) -> None:
    """Print the file of a plot, with what is to be said about it; or the document."""
    if as_json:
        document({"file": str(path), **about})
        return
    for note in notes:
        say(note)
    out(str(path))


def watching(path: Path, seconds: float) -> None:
    """Say that a page is there, and how often it is written anew."""
    what = f"{path} is written anew every {seconds:.0f} s, and loads itself in the browser"
    say(f"{what}, until the training ends; Ctrl-C leaves it as it is")
