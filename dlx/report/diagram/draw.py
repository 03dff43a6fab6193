"""A spec as a picture in one of the formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ...errors import DlxError
from ...graph import Graphs
from .. import output
from ..svg import Picture
from . import field_picture, layers, mermaid, paper, unrolled
from .folding import Folding

FORMATS: Final = ("svg", "png", "pdf", "mmd")


@dataclass(frozen=True)
class Wanted:
    """What is drawn: a diagram in a style with its folding, or the receptive field of a layer, maybe on a picture."""

    style: Literal["layers", "paper"] = "layers"
    folding: Folding = field(default_factory=Folding)
    layer: str | None = None
    image: Path | None = None

    def check(self, form: str) -> None:
        """Raise a DlxError for options that do not go together."""
        hint = "Leave one of the two out."
        if self.image is not None and self.layer is None:
            name = "Name the layer with `--receptive-field`."
            raise DlxError("`--image` is what a receptive field is drawn on", hint=name)
        if self.layer is not None and (self.style != "layers" or self.folding != Folding()):
            raise DlxError("`--receptive-field` draws a layer, and the other options a whole network", hint=hint)
        if form == "mmd" and (self.style != "layers" or self.layer is not None):
            raise DlxError("Mermaid has boxes and lines alone: `--style layers`", hint="Take svg, png or pdf.")


@dataclass(frozen=True)
class File:
    """A picture as the content of a file, and its size in pixels; None for text."""

    content: bytes
    form: str
    size: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return format and size, as in `dlx draw --json`."""
        size = {} if self.size is None else {"width": round(self.size[0]), "height": round(self.size[1])}
        return {"format": self.form, **size}


def file_of(graphs: Graphs, form: str, wanted: Wanted) -> File:
    """Return a picture of all networks of a spec, or of one layer.

    Errors: DlxError for blocks and layers that are not there, and where the picture has nothing to show.
    """
    wanted.check(form)
    if form == "mmd":
        return File(mermaid.text(graphs, wanted.folding).encode(), form)
    if wanted.layer is not None:
        picture = field_picture.picture(graphs, wanted.layer, wanted.image)
    elif wanted.style == "paper":
        picture = _figure(graphs, wanted.folding)
    else:
        picture = layers.picture(graphs, wanted.folding)
    return File(output.rendered(picture, form), form, (picture.width, picture.height))


def _figure(graphs: Graphs, folding: Folding) -> Picture:
    """Return the figure of papers: recurrent networks unrolled, of others the maps as volumes."""
    if folding == Folding() and all(unrolled.is_unrolled(graph) for graph in graphs.values()):
        return unrolled.picture(graphs)
    return paper.picture(graphs, folding)
