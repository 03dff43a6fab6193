"""What `dlx sample` and `dlx.sample` ask for, of texts, waves and samples alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DlxError
from ...training.generation.decoding import Decoding
from . import draws
from . import sample as tokens

if TYPE_CHECKING:
    from ...runs.folder import RunFolder

OF_TOKENS = ("prompt", "decoding", "beam", "samples", "echo")
"""What is of texts and waves alone."""
OF_SAMPLES = ("of_class", "arithmetic", "interpolate", "known", "to")
"""What is of the samples of an objective alone."""
TOKENS = 500
"""Tokens of a text or wave, where nothing else is said."""
OPTIONS = {"of_class": "--class", "known": "--given"}
"""Options that are called otherwise than what they ask for."""


@dataclass(frozen=True)
class Asked:
    """What is to be made; `draws.draw` and `sample.sample` say what each is.

    Attributes:
        n: tokens of a text or wave, None for 500; samples, None for 16.
        known: examples in which values are missing, or that are turned into such of another field: a file, an array.
        to: the field that those are turned into.
        seed: of the first one; the next is drawn by seed + 1.
        checkpoint: name of the weights; None for the final ones.
        output: file that will hold what is made: whether it can is checked first.
    """

    n: int | None = None
    prompt: Any = None
    decoding: Decoding = Decoding()  # noqa: RUF009 - frozen
    beam: int | None = None
    samples: int = 1
    seed: int = 0
    of_class: str | int | None = None
    arithmetic: str | None = None
    interpolate: str | None = None
    known: Any = None
    to: str | None = None
    echo: bool = False
    checkpoint: str | None = None
    output: Path | None = None

    def refuse(self, names: Sequence[str], run: RunFolder, makes: str) -> None:
        """Raise DlxError where one of these has another value than by default: the run makes something else."""
        for name in names:
            value, default = getattr(self, name), getattr(Asked, name)
            if value is not default and (default is None or value != default):  # an array has no one truth
                option = self._option(name)
                raise DlxError(f"{run.key} makes {makes}, and {option} is of others", hint=f"Leave out {option}.")

    def _option(self, name: str) -> str:
        if name != "decoding":
            return OPTIONS.get(name, f"--{name}")
        plain, mine = Decoding(), self.decoding
        changed = [one.name for one in fields(mine) if getattr(mine, one.name) != getattr(plain, one.name)]
        return "--" + changed[0].replace("_", "-")


def made_by(run: RunFolder, asked: Asked) -> tokens.Sampled | draws.Draws:
    """Return the texts or waves of a run, or the samples of its objective. DlxError for what is of the other sort."""
    if not draws.are_made_by(run):
        asked.refuse(OF_SAMPLES, run, "texts or waves")
        count = TOKENS if asked.n is None else asked.n
        return tokens.sample(
            run,
            count,
            asked.prompt,
            asked.decoding,
            seed=asked.seed,
            samples=asked.samples,
            beam=asked.beam,
            name=asked.checkpoint,
            output=asked.output,
        )
    asked.refuse(OF_TOKENS, run, "samples")
    return draws.draw(
        run,
        asked.n,
        seed=asked.seed,
        of_class=asked.of_class,
        arithmetic=asked.arithmetic,
        interpolate=asked.interpolate,
        known=asked.known,
        to=asked.to,
        name=asked.checkpoint,
        output=asked.output,
    )
