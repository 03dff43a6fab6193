"""The command line: one thin function a command. Parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import DlxError, Problem

app = typer.Typer(
    name="dlx",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
runs_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(runs_app, name="runs")

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A spec, YAML or TOML.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the spec, in Hydra's grammar.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run folders are kept.")]
INTERRUPTED = 130


@app.command()
def inspect(
    spec: SpecPath,
    overrides: Overrides = None,
    as_json: AsJson = False,
    depth: Annotated[int | None, typer.Option(min=1, metavar="N", help="Fold blocks below N levels.")] = None,
    shape: Annotated[str | None, typer.Option("--input", metavar="3x512x512", help="Another input shape.")] = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="All about one layer.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, metavar="N", help="Memory of a batch of N.")] = None,
) -> None:
    """Show shapes, parameters, MACs and receptive fields.

    Every layer of the network in a table, and the totals. Nothing is trained and torch is not loaded.

    Example: dlx inspect specs/cs231n/resnet50.yaml --depth 1
    """
    from . import graph, show
    from . import spec as specs

    experiment = specs.load(spec, overrides or [])
    traced = graph.trace(experiment, graph.input_shape(experiment, shape) if shape else None)
    if layer is not None:
        show.one_layer(graph.find(traced, layer), as_json)
    elif as_json:
        show.document(traced.as_json())
    else:
        show.summary(traced, depth, batch)
    show.warnings(traced.warnings)
    _claims([] if shape else graph.unmet(experiment, traced))


@app.command()
def train(spec: SpecPath, overrides: Overrides = None, as_json: AsJson = False, runs: Runs = Path("runs")) -> None:
    """Train a spec; everything is kept in a run folder.

    Picks the device, shows progress, evaluates on the validation and test sets, and mirrors the run to MLflow.

    Example: dlx train specs/digits/lenet.yaml train.epochs=5 train.optimizer.adamw.lr=1e-3
    """
    from . import experiment, graph, show
    from . import spec as specs

    loaded = specs.load(spec, overrides or [])
    with show.progress(quiet=as_json) as listen:
        results = experiment.run(loaded, runs, listen)
    if as_json:
        show.document(experiment.settle(loaded, results).as_json())
    else:
        show.results(results)
        show.tracking(experiment.settle(loaded, results))
    if any(r.status == "stopped" for r in results.results):
        raise typer.Exit(INTERRUPTED)
    _claims(graph.unmet(loaded, results.graph) + graph.unmet_by(loaded, results.metrics))


@app.command()
def layers(
    kind: Annotated[str | None, typer.Argument(help="One kind, in full.")] = None, as_json: AsJson = False
) -> None:
    """List all that a spec can name, or show one in full.

    Layers, structures, data sets, objectives, losses, initialisers, optimizers and schedules.

    Example: dlx layers conv
    """
    from . import show, vocabulary

    if as_json:
        show.document(vocabulary.as_json(kind))
    elif kind is None:
        show.vocabulary(vocabulary.families())
    else:
        show.layer_page(vocabulary.page(kind))


@app.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors.

    Example: dlx schema > spec.schema.json
    """
    from . import show
    from .spec import schema as schemas

    show.document(schemas.schema())


@app.command()
def new(path: Annotated[Path, typer.Argument(metavar="FILE", help="The spec to write, .yaml or .toml.")]) -> None:
    """Write a small spec that runs, to start from.

    Example: dlx new first.yaml && dlx train first.yaml
    """
    from . import show
    from .spec import starter

    starter.write(path)
    show.out(f"{path} is written. Look at it with `dlx inspect {path}`, run it with `dlx train {path}`.")


@runs_app.callback()
def list_runs(context: typer.Context, as_json: AsJson = False, runs: Runs = Path("runs")) -> None:
    """List runs; `runs sync` delivers them to MLflow.

    The runs there are, newest first.

    Example: dlx runs
    """
    if context.invoked_subcommand is not None:
        return
    from . import runs as folders
    from . import show

    found = folders.all_runs(runs)
    if as_json:
        show.document({"runs": [show.run_as_json(run) for run in found]})
    else:
        show.run_list(found, runs)


@runs_app.command()
def sync(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="One run; else all that are behind.")] = None,
    uri: Annotated[str | None, typer.Option(help="Another tracking URI than the run's own.")] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Deliver to MLflow what has not arrived there yet.

    Example: dlx runs sync
    """
    from . import runs as folders
    from . import show, track

    chosen = [folders.find(run, runs)] if run else folders.all_runs(runs)
    done = [(one, track.sync(one, uri)) for one in chosen]
    show.synced(done, as_json)
    if not all(result.complete for _, result in done):
        raise typer.Exit(1)


def _tell_version(asked: bool) -> None:
    if asked:
        from . import __version__

        typer.echo(f"dlx {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="The version, and leave.")
    ] = False,
) -> None:
    """Deep-learning experiments from one text file: checked, counted, trained, tracked."""


def _claims(unmet: Sequence[Problem]) -> None:
    """Tell what `expect` claims and is not so; then the exit status is 1."""
    if unmet:
        from . import show

        show.warnings(unmet)
        raise typer.Exit(1)


def main() -> None:
    """Run a command; the one place that turns a DlxError into red text and an exit status."""
    sys.exit(_guarded(lambda: app(standalone_mode=True)))


def _guarded(command: Callable[[], Any]) -> int:
    try:
        command()
    except DlxError as error:
        from . import show

        show.errors(error, as_json="--json" in sys.argv[1:])
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `dlx layers | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        sys.stderr.write(f"  the output could not be written: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    main()
