"""What several commands take, and how a spec's claims end one."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import Problem

if TYPE_CHECKING:
    from ..spec import Experiment

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A spec, YAML or TOML.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the spec, in Hydra's grammar.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run folders are kept.")]
Checkpoint = Annotated[
    str | None, typer.Option("--checkpoint", metavar="NAME", help="Other weights than the final ones.")
]
Combined = Annotated[
    Literal["average", "vote", "unanimous"] | None, typer.Option("--combine", metavar="HOW", help="average or vote.")
]
Verdict = Literal["holds", "book wrong", "FAILS", "not run"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for circles of dead objects, a tenth of the time of what keeps all it makes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def warn_of_password(experiment: Experiment | None) -> None:
    """Warn once of a password in `track.uri`."""
    if experiment is not None and (problem := experiment.password_warning()) is not None:
        from ..show import console

        console.warnings([problem])


def claims(unmet: Sequence[Problem], overrides: Sequence[str] | None) -> None:
    """Tell what `expect` claims of the spec as it is written and is not so; then the exit status is 1."""
    from ..spec.sections.expect import apply_with

    if unmet and apply_with(overrides or []):
        from ..show import console

        console.warnings(unmet)
        raise typer.Exit(1)
