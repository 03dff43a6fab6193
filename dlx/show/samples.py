"""Texts that a network has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import document, out, say

if TYPE_CHECKING:
    from ..trained.sampling.sample import Sampled


def sampled(found: Sampled, as_json: bool, echo: bool) -> None:
    """Print the output of `dlx sample`: the texts alone, with the prompt before each where `echo` asks for it."""
    for note in found.notes:
        say(note)
    if as_json:
        document(found.as_json())
        return
    for i, one in enumerate(found.samples):
        if i:
            out("---")
        out(one.whole if echo else one.text)
