"""Texts, waves and samples that networks have made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import plural
from .console import document, out, say

if TYPE_CHECKING:
    from ..trained.sampling.draws import Draws
    from ..trained.sampling.sample import Sampled


def made(found: Sampled | Draws, as_json: bool, output: Path | None, echo: bool, rate: int) -> None:
    """Print the output of `dlx sample`, or write it to the file `output`."""
    from ..trained.sampling.draws import Draws  # not at the top: it loads torch's rooms

    if isinstance(found, Draws):
        draws(found, as_json, output)
    else:
        sampled(found, as_json, echo, output, rate)


def sampled(found: Sampled, as_json: bool, echo: bool, output: Path | None, rate: int) -> None:
    """Print texts or waves alone, with the prompt before each where `echo` asks for it, or write them to a file."""
    for note in found.notes:
        say(note)
    if output is not None:
        found.write(output, echo, rate)
        what, unit = ("wave", "step") if found.are_waves else ("text", "token")
        count = len(found.samples)
        are = "is" if count == 1 else "are"
        say(f"{plural(count, what)} of {plural(len(found.samples[0].tokens), unit)} {are} written to {output}.")
    if as_json:
        document(found.as_json())
    elif output is None:
        for i, one in enumerate(found.lines(echo)):
            if i:
                out("---")
            out(one)


def draws(found: Draws, as_json: bool, output: Path | None) -> None:
    """Print samples as lines of numbers, or write them to the file `output`."""
    if output is not None:
        found.write(output)
        count = len(found.values)
        say(f"{plural(count, 'sample')} {'is' if count == 1 else 'are'} written to {output}.")
    if as_json:
        document(found.as_json())
    elif output is None:
        for one in found.lines():
            out(one)
