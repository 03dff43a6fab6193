"""The version of the format that a file says it is written in."""

from __future__ import annotations

from ..errors import Problem
from .syntax.read import Node
from .validation import shown

VERSION = 1


def problems(root: Node) -> list[Problem]:
    """Return the problem of a file or spec of another version."""
    node = root.at("dlx")
    # To Python `dlx: true` is `dlx: 1`.
    if node is None or not (isinstance(node.value, bool) or node.value != VERSION):
        return []
    message = f"`dlx: {shown(node.plain())}` is a version of the format that this dlx does not read"
    return [Problem(message, f"It reads `dlx: {VERSION}`.", node.mark, "dlx")]
