"""A spec as a picture in one of the formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...graph import Graphs
from .. import output
from . import layers, mermaid
from .folding import Folding

FORMATS: Final = ("svg", "png", "pdf", "mmd")


@dataclass(frozen=True)
class Drawn:
    """The content of a file, and its size in pixels; None for text."""

    content: bytes
    form: str
    size: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return format and size, as in `dlx draw --json`."""
        size = {} if self.size is None else {"width": round(self.size[0]), "height": round(self.size[1])}
        return {"format": self.form, **size}


def drawn(graphs: Graphs, form: str, folding: Folding = Folding()) -> Drawn:  # noqa: B008 - it is frozen
    """Return a picture of all networks of a spec.

    Errors: DlxError where `folding` names blocks that are not there.
    """
    if form == "mmd":
        return Drawn(mermaid.text(graphs, folding).encode(), form)
    picture = layers.picture(graphs, folding)
    return Drawn(output.rendered(picture, form), form, (picture.width, picture.height))
