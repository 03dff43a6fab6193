"""Diagrams of networks: as files for `dlx draw`, and as a piece of a page."""

from .page import diagram_html

__all__ = ["diagram_html"]
