"""The command line: one thin function a command. Parse, call, print."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import analyses, drawing, exit_status, reports, run_list, runs, specs, training
from .on_demand import OnDemand, group_of

COMMANDS = OnDemand(
    specs.inspect,
    drawing.draw,
    specs.data,
    training.train,
    training.sweep,
    training.crossval,
    training.baseline,
    runs.evaluate,
    runs.predict,
    runs.sample,
    runs.neighbours,
    runs.activations,
    runs.compare,
    analyses.analyze,
    reports.plot,
    reports.report,
    reports.ui,
    specs.layers,
    specs.specs,
    specs.verify,
    specs.explain,
    specs.diff,
    specs.why,
    specs.doctor,
    training.prove_resume,
    runs.reproduce,
    specs.schema,
    specs.new,
    run_list.runs_app,
)
"""The commands in the order of `dlx --help`."""
app = typer.Typer(
    name="dlx",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from .. import __version__

        typer.echo(f"dlx {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="The version, and leave.")
    ] = False,
) -> None:
    """Deep-learning experiments from one text file: checked, counted, trained, tracked."""


def main() -> None:
    """Run a command and leave with its exit status."""
    sys.exit(exit_status.run(lambda: app(standalone_mode=False, prog_name="dlx")))
