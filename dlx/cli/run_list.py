"""`dlx runs`: the list of runs, their tags, and what is removed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import completion
from .options import AsJson, Format, Runs

LIST = "list"


class ListByDefault(TyperGroup):
    """`dlx runs` lists: without one of its commands first, what is written is an argument of `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in {"--help", "--install-completion"}):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


runs_app = typer.Typer(
    name="runs", cls=ListByDefault, add_completion=False, rich_markup_mode=None, no_args_is_help=False
)


@runs_app.callback()
def runs_group() -> None:
    """List runs; tag them, remove them, deliver them to MLflow.

    Without a command it lists: `dlx runs --sort valid/error` is `dlx runs list --sort valid/error`.

    Example: dlx runs --filter "valid/error < 0.1"
    """


@runs_app.command(LIST)
def list_runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Names of runs, runs or studies; else all.", autocompletion=completion.run_names
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY", help="A metric, a key of the spec, started, seconds, ...; -KEY from the largest."
        ),
    ] = "",
    condition: Annotated[
        str, typer.Option("--filter", metavar="CONDITION", help='Such as "valid/error < 0.1 and adam.lr = 0.01".')
    ] = "",
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="Those with a tag; once for each.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A column of its own; once for each.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Rows at most.")] = None,
    each: Annotated[bool, typer.Option("--each", help="A row for each run.")] = False,
    form: Format = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """List runs, those of one spec in a row, and studies.

    The newest first. Runs that differ in seed and fold alone are a row with the mean and its 95 % interval; an
    ensemble and a study are one too. `differs` has the values that tell the specs of one name apart.

    Example: dlx runs --sort valid/error --limit 10
    """
    from ..show import forms
    from ..show import run_list as table
    from ..trained import run_list

    chosen = forms.form_of(form, as_json)
    asked = run_list.Asked(tuple(names or ()), sort, condition, tuple(tag or ()), limit, each)
    table.run_list(run_list.listed(runs, asked), metric or [], runs, chosen)


@runs_app.command()
def sync(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="One run; else all that are behind.", autocompletion=completion.run_names),
    ] = None,
    uri: Annotated[str | None, typer.Option(help="Another tracking URI than the run's own.")] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Deliver to MLflow what has not arrived there yet.

    Example: dlx runs sync
    """
    from .. import track
    from ..runs import lookup
    from ..runs.folder import RunFolder
    from ..show import listings
    from ..sweeps import mlflow_study

    studies = mlflow_study.studies(run, runs)
    chosen = [] if run and studies else [lookup.find(run, runs)] if run else lookup.all_runs(runs)
    done = [(one, track.sync(one, uri)) for one in chosen]
    done += [(RunFolder(folder), mlflow_study.deliver(folder, uri)) for folder in studies]
    listings.synced(done, as_json)
    if not all(result.complete for _, result in done):
        raise typer.Exit(1)
