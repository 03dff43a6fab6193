"""Nearest neighbours of a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import document, out

if TYPE_CHECKING:
    from ..trained.neighbours import Neighbours


def neighbours(found: Neighbours, as_json: bool) -> None:
    """Print the output of `dlx neighbours`: a token a line, with its cosine, the nearest first."""
    if as_json:
        document(found.as_json())
        return
    width = max((len(one.token) for one in found.nearest), default=0)
    for one in found.nearest:
        out(f"{one.token:<{width}}  {one.similarity:.3f}")
