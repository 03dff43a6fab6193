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
Checkpoint = Annotated[
    str | None, typer.Option("--checkpoint", metavar="NAME", help="Other weights than the final ones.")
]
Combined = Annotated[
    Literal["average", "vote", "unanimous"] | None, typer.Option("--combine", metavar="HOW", help="average or vote.")
]
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
    spec: Annotated[
        Path | None, typer.Argument(metavar="SPEC", help="A spec, YAML or TOML; or a run, or a study: its best.")
    ] = None,
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
    like = None
    if spec is not None and spec.is_dir():  # a run, or a study and its best trial
        from .sweep.study import spec_in

        spec = spec_in(spec)
        like = folders.Run(spec.parent)
    loaded = specs.load(spec, overrides or []) if spec is not None else None
    if plot_schedule and loaded is not None:
        rates = experiment.rates(loaded)
        show.document(rates.as_json()) if as_json else show.schedule(rates)
        return
    with show.progress(quiet=as_json) as listen:
        if loaded is not None:
            results = experiment.run(loaded, runs, listen, like)
        else:
            loaded, results = experiment.resume(folders.find(str(resume), runs), listen)
    if as_json:
        show.document(experiment.settle(loaded, results).as_json())
    else:
        show.results(results)
        show.tracking(experiment.settle(loaded, results))
    if any(r.status == "stopped" for r in results.results):
        raise typer.Exit(0 if results.results[-1].notes else guard.INTERRUPTED)  # as long as `max_time`, or Ctrl-C
    _claims(graph.unmet(loaded, results.graph) + graph.unmet_by(loaded, results.metrics), overrides)


@app.command()
def sweep(
    spec: SpecPath,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUES", help="What varies, and other changes, in Hydra's grammar."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many points, in all.")] = None,
    sampler: Annotated[str | None, typer.Option(metavar="KIND", help="grid, random, tpe, ...: who picks.")] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that train.")] = 1,
    backend: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    pack: Annotated[str, typer.Option(metavar="auto|N|off", help="Trainings that are one stacked network.")] = "auto",
    budget: Annotated[str | None, typer.Option(metavar="30m", help="Stop cleanly after this time.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    study: Annotated[str, typer.Option(metavar="NAME", help="Another name for the study's folder.")] = "",
    figures: Annotated[bool, typer.Option("--figures", help="Draw what it showed, even without MLflow.")] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Search: many trainings of a spec that differ in a few values.

    The values of a key are written as Hydra has them: 1,2,3 or choice(1,2), range(1,9), interval(0,1),
    tag(log,interval(1e-5,1e-1)), glob(*); or under `sweep: {space: ...}` in the spec. The same command goes on with a
    study that was cut off, and --trials extends it. `dlx train STUDY` trains the best one again.

    Example: dlx sweep specs/digits/lenet.yaml train.batch_size=16,32,64 --jobs 2
    """
    from . import show
    from .sweep import plan as plans
    from .sweep import run as sweeps

    changes = [*(overrides or []), *([f"++sweep.sampler={sampler}"] if sampler is not None else [])]
    made = plans.plan(spec, changes, runs, trials, study)
    spent = sweeps.time_of(budget or made.sweep.budget)
    means = sweeps.Means(jobs, backend, sweeps.packing(pack), spent, retry_failed, mirror=True)
    with show.sweeping(quiet=as_json) as listen:
        found = sweeps.run(made, means, listen)
    if figures:
        sweeps.draw(found)
    if as_json:
        show.ending(sweeps.settle(found), as_json)
    else:
        show.ending(found, as_json)
        show.delivered(sweeps.settle(found), sweeps.store_of(made))
    if found.exit_code:
        raise typer.Exit(found.exit_code)


@app.command()
def evaluate(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="A run, or several that answer together.")],
    checkpoint: Checkpoint = None,
    part: Annotated[
        list[str] | None, typer.Option(metavar="PART", help="train, valid or test; else what was held out.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Other data: a field of the run's own.")
    ] = None,
    combine: Combined = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Measure a trained network once more, or several together.

    The metrics of the validation and test parts, to the same figures as at the end of its training; --part and --data
    take others, which go through the preprocessing that was fitted to the training set. Several runs, and the run of
    an ensemble, are measured one by one, in the mean, and together.

    Example: dlx evaluate last --part test
    """
    from . import evaluate as evaluation
    from . import runs as folders
    from . import show

    found = [folders.find(one, runs) for one in run]
    show.evaluation(evaluation.evaluate(found, checkpoint, part or (), data or (), combine), as_json)


@app.command()
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or the run of an ensemble.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Inputs: arrays, a table, a picture or a folder.")],
    checkpoint: Checkpoint = None,
    combine: Combined = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to .csv or .npz.")] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Ask a trained network about inputs it has not seen.

    Classes with their probabilities, or values, for what is in FILE: arrays (.npy, .npz), a CSV or parquet file with
    the columns of the run's table, a picture, or a folder of pictures. They are read and preprocessed as the training
    set was, which need not be there. Bytes are divided by 255.

    Example: dlx predict last digits.npy --output digits.csv
    """
    from . import predict as predictions
    from . import runs as folders
    from . import show

    found = predictions.predict(folders.find(run, runs), file, checkpoint, combine)
    show.predictions(found, as_json, output)


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
        list[str] | None,
        typer.Argument(
            metavar="SPEC | KEY=VALUE",
            help="Specs, or folders of them; else ./specs. Changes to all of them, such as where their data lies.",
        ),
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

    changes = [given for given in specs or [] if "=" in given and not Path(given).exists()]
    paths = [Path(given) for given in specs or [] if given not in changes]
    found = receipts.verify(receipts.found(paths or [Path("specs")]), changes)
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


@app.command("prove-resume")
def prove_resume(
    spec: SpecPath,
    overrides: Overrides = None,
    kills: Annotated[int, typer.Option(min=0, metavar="N", help="How often it is killed.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the steps at which it is killed.")] = 0,
    steps: Annotated[int, typer.Option(min=2, metavar="N", help="Steps of training, at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Prove that a training that is killed goes on to the same bits.

    Trains twice: once to the end, and once killed by SIGKILL at random steps and resumed each time. Then the loss
    curves are compared, and the SHA-256 of every tensor: weights, optimizer, averages, generators. The exit status is
    1 where one differs; the two runs are kept then. A training is cut to 100 steps, or --steps.

    Example: dlx prove-resume specs/digits/lenet.yaml --kills 3
    """
    from . import proof, show

    with proof.kept_where_it_fails() as home:
        say = proof.silent if as_json else show.say
        found = proof.prove(spec, overrides or [], home, kills, seed, steps, say)
        show.proof(found, as_json)
        if not found.equal:
            raise typer.Exit(1)


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished run.")],
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Largest relative difference of a result that is the same.")
    ] = 1e-3,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Run a run again, and tell whether the same comes out.

    From its spec and its lock, with as many threads and on the same kind of device, into a new run. Says what is not
    as the lock has it (versions, device, commit), and then `bitwise equal`, `within tolerance` with the largest
    relative difference, or `differs`, with the first step and the layer; the exit status is 1 then.

    Example: dlx reproduce last
    """
    from . import reproduce as reproductions
    from . import runs as folders
    from . import show

    with show.progress(quiet=as_json) as listen:
        found = reproductions.reproduce(folders.find(run, runs), runs, tolerance, listen)
    show.reproduction(found, as_json)
    if found.verdict == "differs":
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
    from .sweep import tracked

    studies = tracked.studies(run, runs)
    chosen = [] if run and studies else [folders.find(run, runs)] if run else folders.all_runs(runs)
    done = [(one, track.sync(one, uri)) for one in chosen]
    done += [(folders.Run(folder), tracked.Tracked(folder, uri).sync()) for folder in studies]
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
