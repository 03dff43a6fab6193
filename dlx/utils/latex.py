"""Texts in LaTeX."""

from __future__ import annotations

SPECIAL = {
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"\ensuremath{\pm}",
    "…": r"\ldots{}",
}
"""Letters that are commands or no text in LaTeX, and what stands for them."""


def escaped(text: str) -> str:
    """Escape a text for TeX, where ten characters are commands."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))
