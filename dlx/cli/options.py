"""Arguments and options that several commands share, and the check of a spec's claims at their end."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import Problem
from . import completion

if TYPE_CHECKING:
    from ..spec import Experiment

SpecPath = Annotated[
    Path,
    typer.Argument(metavar="SPEC", help="A spec, YAML or TOML, or a shipped one.", autocompletion=completion.specs),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the spec, in Hydra's grammar.")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE|MODULE", help="Kinds of your own beside the spec's; once for each."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Format = Annotated[
    Literal["table", "markdown", "latex", "csv", "json"] | None,
    typer.Option("--format", help="table, markdown, latex, csv or json."),
]
StageName = Annotated[
    str | None,
    typer.Option("--stage", metavar="NAME", help="One of the spec's `stages`; else the last one is meant."),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run folders are kept.")]
Checkpoint = Annotated[
    str | None, typer.Option("--checkpoint", metavar="NAME", help="Other weights than the final ones.")
]
InitFrom = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        metavar="RUN",
        help="Start from the weights of a run or a file: weights.from=RUN.",
        autocompletion=completion.run_names,
    ),
]
Combined = Annotated[
    Literal["average", "vote", "unanimous"] | None, typer.Option("--combine", metavar="HOW", help="average or vote.")
]
Verdict = Literal["holds", "book wrong", "FAILS", "not run"]


def source(init_from: str | None) -> list[str]:
    """Return the override of `--init-from`."""
    if init_from is None:
        return []
    from ..spec.overrides import ChangeOf
    from ..spec.sections.sweep_values import quoted

    return [ChangeOf(f"++weights.from={quoted(init_from)}", f"option `--init-from {init_from}`")]


def sampler(name: str | None) -> list[str]:
    """Return the override of `--sampler`."""
    if name is None:
        return []
    from ..spec.overrides import ChangeOf

    return [ChangeOf(f"++sweep.sampler={name}", f"option `--sampler {name}`")]


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Turn off the cyclic garbage collector in the block: a tenth of the time of `inspect`, which drops nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def warn_of_password(experiment: Experiment | None) -> None:
    """Print the warning about a password in `track.uri`, where there is one."""
    if experiment is not None and (problem := experiment.password_warning()) is not None:
        from ..show import console

        console.warnings([problem])


def check_claims(unmet: Sequence[Problem], changes: Sequence[str] | None) -> None:
    """Print the claims of `expect` that do not hold, and exit with status 1 where any, for the spec as written.

    Those of a spec that `changes` have changed, overrides or other input shapes, are a line, and no failure.
    """
    from ..graph import of_other_spec
    from ..show import console
    from ..spec.sections.expect import apply_with

    if not unmet:
        return
    if not apply_with(changes or []):
        console.warnings(of_other_spec(unmet))
        return
    console.warnings(unmet)
    raise typer.Exit(1)
