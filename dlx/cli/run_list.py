"""`dlx runs`: the list of runs, their tags, and what is removed of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import DlxError
from . import completion
from .options import AsJson, Format, Runs

if TYPE_CHECKING:
    from ..trained.removal import Removal

LIST = "list"


class ListByDefault(TyperGroup):
    """`dlx runs` lists: without one of its commands, what is written is an argument of `list`.

    `--runs DIR` and `--json` may stand before a command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        before, after = _leading(args)
        if before and after and after[0] in self.commands:
            args = [after[0], *before, *after[1:]]
        if not args or (args[0] not in self.commands and args[0] not in {"--help", "--install-completion"}):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


def _leading(args: list[str]) -> tuple[list[str], list[str]]:
    """Split arguments behind the options at their beginning that all commands of runs have."""
    count = 0
    while count < len(args) and (args[count] in {"--runs", "--json"} or args[count].startswith("--runs=")):
        count += 2 if args[count] == "--runs" else 1
    return args[:count], args[count:]


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
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for processes that deliver already, then for what they left out.")
    ] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Deliver to MLflow what has not arrived there yet.

    Of runs that are named or behind also the pictures, which are drawn where they are missing. With --wait the
    processes that deliver come to their ends first; a run that is still training is not waited for.

    Example: dlx runs sync
    """
    from .. import track
    from ..report import artifacts
    from ..runs import lookup
    from ..runs.folder import RunFolder
    from ..show import console, listings
    from ..sweeps import mlflow_study
    from ..sweeps.study import is_running
    from ..track import arrivals, at_work

    studies = mlflow_study.studies(run, runs)
    chosen = [] if run and studies else [lookup.find(run, runs)] if run else lookup.all_runs(runs)
    ended = [one.dir for one in chosen if one.status() != "running"] if wait else []
    ended += [folder for folder in studies if not is_running(folder)] if wait else []
    waited = at_work.wait_all(ended, listings.waiting)
    stores, each = arrivals.Stores(), [*chosen, *map(RunFolder, studies)]
    # who names a run, or another store, wants MLflow to be asked
    asked = bool(run or uri)
    states = {one.dir: None if asked or one.dir in waited else stores.unchanged(one) for one in each}

    def delivered(one: RunFolder) -> track.SyncResult:
        if (state := states[one.dir]) is not None:
            return track.SyncResult(0, True, state["run_id"], state["uri"])
        if problem := arrivals.damage_of(one):
            console.say(problem)
        is_study = one.dir in studies
        if run or is_study or arrivals.is_behind(one):
            for problem in artifacts.write_all([one.dir]):
                console.say(problem)
        with at_work.impatient(listings.waiting, endless=one.dir in ended):
            if is_study:
                return mlflow_study.deliver(one.dir, uri).with_waiting(one.dir in waited)
            return track.sync(one, uri, waited=one.dir in waited)

    due = sum(state is None for state in states.values())
    complete = listings.synced(((one, delivered(one)) for one in each), due, as_json)
    if not complete:
        raise typer.Exit(1)


@runs_app.command()
def tag(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run.", autocompletion=completion.run_names)],
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE|KEY-", help="Tags to write, or with `-` to take away.")
    ],
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Write tags to a run, by which the list finds it.

    They lie in its folder; MLflow gets them with the next delivery, `dlx runs sync`.

    Example: dlx runs tag last keep=yes
    """
    from ..show import run_list as table
    from ..trained import removal, run_list

    table.tagged([run_list.ListedRun(one) for one in removal.tag([run], changes, runs)], as_json)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")]


@runs_app.command()
def rm(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Runs, by their ids.", autocompletion=completion.run_names)
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Remove runs from the disk, and say what that frees.

    With the members of an ensemble. A running run, one that another takes weights of, and a trial of a study stay,
    and nothing is removed then. The copies in MLflow stay too.

    Example: dlx runs rm last --dry-run
    """
    from ..trained import removal

    _remove(removal.whole_runs(names, runs), runs, as_json, yes=yes, dry_run=dry_run)


@runs_app.command()
def prune(
    failed: Annotated[bool, typer.Option("--failed", help="Runs that have failed or died.")] = False,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Training states of finished runs; their weights stay.")
    ] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="30d", help="Those alone that began before: h, d or w.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Remove what is left over: failed runs, training states.

    Runs that others take weights of stay. Without its states a finished run is whole, but cannot be trained for
    longer.

    Example: dlx runs prune --failed --dry-run
    """
    from ..trained import removal

    if not (failed or checkpoints):
        raise DlxError("there is nothing to prune", hint="Say what: `--failed`, `--checkpoints`, or both.")
    span = removal.span_of(older_than) if older_than is not None else None
    found = removal.unfinished(runs, span) if failed else []
    found += removal.states(runs, span) if checkpoints else []
    _remove(found, runs, as_json, yes=yes, dry_run=dry_run)


def _remove(found: Sequence[Removal], runs: Path, as_json: bool, *, yes: bool, dry_run: bool) -> None:
    """Show what is to be removed, ask, and remove it. DlxError where nobody can be asked."""
    from ..show import removal as shown
    from ..trained import removal

    shown.to_remove(found, as_json)
    if dry_run or not found:
        shown.removed(found, None, as_json)
        return
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise DlxError(
                "nobody can be asked whether to remove them",
                hint="Say it with `--yes`, or look first with `--dry-run`.",
            )
        typer.confirm("Remove?", abort=True, err=True)
    shown.removed(found, removal.remove(found, runs), as_json)
