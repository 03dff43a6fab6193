"""The command line: one thin function a command. Parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import guard
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
Verdict = Literal["holds", "book wrong", "FAILS", "not run"]


@app.command()
def inspect(
    spec: SpecPath,
    overrides: Overrides = None,
    as_json: AsJson = False,
    depth: Annotated[int | None, typer.Option(min=1, metavar="N", help="Fold blocks below N levels.")] = None,
    shape: Annotated[str | None, typer.Option("--input", metavar="3x512x512", help="Another input shape.")] = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="All about one layer.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, metavar="N", help="Memory of a batch of N.")] = None,
    tool: Annotated[str | None, typer.Option("--as", metavar="TOOL", help="As another tool counts it.")] = None,
) -> None:
    """Show shapes, parameters, MACs and receptive fields.

    Every layer of the network in a table, and the totals; with --batch the memory that a training step will take,
    with --as the figures of torchvision, keras, timm, darknet or torchinfo, and what lies between them and dlx's.
    Nothing is trained and torch is not loaded.

    Example: dlx inspect specs/cs231n/resnet50.yaml --depth 1
    """
    from . import graph, show
    from . import spec as specs

    if batch and layer is not None:
        hint = "Leave one of the two out."
        raise DlxError("`--batch` is about the whole network, and `--layer` about one layer", hint=hint)
    experiment = specs.load(spec, overrides or [])
    traced = graph.trace(experiment, graph.input_shape(experiment, shape) if shape else None)
    step = graph.memory.of_training(experiment, traced, batch) if batch else None
    one = graph.find(traced, layer) if layer is not None else None
    counted = graph.counted_as(tool, [one] if one else traced.nodes) if tool is not None else None
    if as_json:
        more = {"memory": step, "as": counted}
        show.document((one or traced).as_json() | {key: value.as_json() for key, value in more.items() if value})
    elif counted:
        show.counted(one.name if one else traced.name, counted, step)
    elif one:
        show.one_layer(one)
    else:
        show.summary(traced, depth, step)
    show.warnings(traced.warnings)
    _claims([] if shape else graph.unmet(experiment, traced), overrides)


@app.command()
def train(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="A spec, YAML or TOML.")] = None,
    overrides: Overrides = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was cut off, as it was.")
    ] = None,
    plot_schedule: Annotated[
        bool, typer.Option("--plot-schedule", help="Show the learning rate over time; nothing is trained.")
    ] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Train a spec; everything is kept in a run folder.

    Picks the device, shows progress, evaluates on the validation and test sets, and mirrors the run to MLflow. With
    --resume a run that was killed, stopped or failed goes on, to the same bits.

    Example: dlx train specs/digits/lenet.yaml train.epochs=5 train.optimizer.adamw.lr=1e-3
    """
    from . import experiment, graph, show
    from . import runs as folders
    from . import spec as specs

    if (spec is None) == (resume is None):
        hint = "`dlx train SPEC` starts, and `dlx train --resume RUN` goes on with a run as it was."
        raise DlxError("give a spec to train, or the run to resume", hint=hint)
    loaded = specs.load(spec, overrides or []) if spec is not None else None
    if plot_schedule and loaded is not None:
        rates = experiment.rates(loaded)
        show.document(rates.as_json()) if as_json else show.schedule(rates)
        return
    with show.progress(quiet=as_json) as listen:
        if loaded is not None:
            results = experiment.run(loaded, runs, listen)
        else:
            loaded, results = experiment.resume(folders.find(str(resume), runs), listen)
    if as_json:
        show.document(experiment.settle(loaded, results).as_json())
    else:
        show.results(results)
        show.tracking(experiment.settle(loaded, results))
    if any(r.status == "stopped" for r in results.results):
        raise typer.Exit(guard.INTERRUPTED)
    _claims(graph.unmet(loaded, results.graph) + graph.unmet_by(loaded, results.metrics), overrides)


@app.command()
def layers(
    kind: Annotated[str | None, typer.Argument(help="One kind, in full.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Everything in full, as one page.")] = False,
    as_json: AsJson = False,
) -> None:
    """List all that a spec can name, or show one in full.

    Layers, structures, data sets, objectives, losses, initialisers, optimizers and schedules.

    Example: dlx layers conv
    """
    from . import reference, show, vocabulary

    if markdown:
        show.out(reference.markdown(kind))
    elif as_json:
        show.document(vocabulary.as_json(kind))
    elif kind is None:
        show.vocabulary(vocabulary.families())
    else:
        show.layer_page(vocabulary.page(kind))


@app.command()
def verify(
    specs: Annotated[
        list[Path] | None, typer.Argument(metavar="SPEC", help="Specs, or folders of them; else ./specs.")
    ] = None,
    only: Annotated[
        Verdict | None, typer.Option(metavar="VERDICT", help="Show those that hold, that fail, ...")
    ] = None,
    training: Annotated[bool, typer.Option("--train", help="Train what makes claims about results.")] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Hold what specs claim under `expect` against what is so.

    A table a spec: the claim, its source, the book's figure, dlx's, and the verdict: holds, book wrong (with the
    reason), FAILS, or not run, where the claim is about a training. The exit status is 1 where one fails, 2 where a
    spec is wrong.

    Example: dlx verify specs/udl
    """
    from . import receipts, show

    found = receipts.verify(receipts.found(specs or [Path("specs")]))
    if training:
        found = (receipts.trained(one, runs) for one in found)
    if status := show.verified(found, as_json, only):
        raise typer.Exit(status)


@app.command()
def explain(
    spec: SpecPath,
    overrides: Overrides = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="One layer, or a block.")] = None,
    shape: Annotated[str | None, typer.Option("--input", metavar="3x512x512", help="Another input shape.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the arithmetic behind the figures of `inspect`.

    Output size, parameters, MACs, memory and receptive field of a layer, line by line, with its own numbers. Without
    --layer: how the totals add up, and which layers there are.

    Example: dlx explain specs/cs231n/resnet50.yaml --layer conv_1
    """
    from . import graph, show
    from . import spec as specs
    from .graph import explain as pages

    experiment = specs.load(spec, overrides or [])
    traced = graph.trace(experiment, graph.input_shape(experiment, shape) if shape else None)
    show.explanation(pages.explain(traced, layer), as_json)
    if layer is None:
        show.warnings(traced.warnings)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A spec, YAML or TOML.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one, or the same.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to B, in Hydra's grammar.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two specs: layers, costs and settings.

    Layers are aligned by what they are, not by name. A row for each that was added, removed or changed, with the
    difference in parameters, MACs and memory; then the totals and the other settings. Overrides apply to B.

    Example: dlx diff specs/digits/lenet.yaml specs/digits/lenet.yaml network.layers.conv_1.kernel_size=3
    """
    from . import show
    from . import spec as specs
    from .graph import diff as diffs

    show.difference(diffs.diff(specs.load(a), specs.load(b, overrides or [])), as_json)


@app.command()
def why(
    spec: SpecPath,
    key: Annotated[str, typer.Argument(metavar="KEY", help="What is asked for, as overrides name it.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Tell where a value comes from, and what it replaced.

    The file and line, the override or the default that gave it; of an expression also what it comes to. Layers inside
    blocks go by the names that `inspect` shows: network.layers.bottleneck_1/conv_2.stride. Of a section: all in it.

    Example: dlx why specs/cs231n/resnet101.yaml vars.depths
    """
    from . import graph, show
    from . import spec as specs
    from .graph import origin

    experiment = specs.load(spec, overrides or [])
    show.origin(origin.why(experiment, graph.trace(experiment), key, overrides or []), as_json)


@app.command()
def doctor(
    spec: SpecPath,
    overrides: Overrides = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Also what takes minutes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong, in seconds, before training.

    The data and its parts, the loss before the first update, dead and saturated units, the scale of signals and
    gradients by depth, gradients against differences, the size of updates, a batch by heart, and the learning rate.
    Each finding with its line and a way out. The exit status is 1 where something is wrong. Nothing is kept.

    Example: dlx doctor specs/digits/lenet.yaml train.optimizer.adamw.lr=10
    """
    from . import show
    from . import spec as specs
    from .analysis import doctor as clinic

    report = clinic.examine(specs.load(spec, overrides or []), thorough)
    show.diagnosis(report, as_json)
    if report.wrong:
        raise typer.Exit(1)


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


def _claims(unmet: Sequence[Problem], overrides: Sequence[str] | None) -> None:
    """Tell what `expect` claims of the spec as it is written and is not so; then the exit status is 1."""
    from .spec.claims import are_meant

    if unmet and are_meant(overrides or []):
        from . import show

        show.warnings(unmet)
        raise typer.Exit(1)


def main() -> None:
    """Run a command and leave with its exit status."""
    sys.exit(guard.run(lambda: app(standalone_mode=False)))


if __name__ == "__main__":
    main()
