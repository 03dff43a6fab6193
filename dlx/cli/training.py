"""Commands that train."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import DlxError
from . import completion, exit_status, options
from .options import (
    AsJson,
    InitFrom,
    Overrides,
    Plugins,
    Runs,
    SpecPath,
    check_claims,
    warn_of_password,
)

if TYPE_CHECKING:
    from ..experiment.runner import Results
    from ..spec import Experiment


def train(
    spec: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEC",
            help="A spec, YAML or TOML; or a run, or a study: its best.",
            autocompletion=completion.specs,
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with a run that was cut off, as it was; with train.epochs=N also with a finished one.",
            autocompletion=completion.run_names,
        ),
    ] = None,
    init_from: InitFrom = None,
    plot_schedule: Annotated[
        bool, typer.Option("--plot-schedule", help="Show the learning rate over time; nothing is trained.")
    ] = False,
    plugin: Plugins = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Warnings, and a line with the result.")] = False,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Train a spec; everything is kept in a run folder.

    Picks the device, shows progress, evaluates on the validation and test sets, and mirrors the run to MLflow. With
    --resume a run that was killed, stopped or failed goes on, to the same bits.

    Example: dlx train digits/lenet train.epochs=5 train.optimizer.adamw.lr=1e-3
    """
    from .. import graph
    from .. import spec as specs
    from ..experiment import runner
    from ..runs import lookup
    from ..runs.folder import RunFolder
    from ..show import schedule as schedules
    from ..show import training, training_time

    # After `--resume RUN` the first override is read as the argument SPEC.
    changes = [str(spec), *(overrides or [])] if resume is not None and spec is not None else []
    if resume is not None and changes and all("=" in change or change.startswith("~") for change in changes):
        from ..experiment.extension import extended

        resume, spec = str(extended(lookup.find(resume, runs), changes, runs).dir), None
    flags = [*(f"--plugin {one}" for one in plugin or []), *([f"--init-from {init_from}"] if init_from else [])]
    if resume is not None and flags:
        from ..experiment.resume_checks import unchanged

        raise unchanged(lookup.find(resume, runs), flags)
    if (spec is None) == (resume is None):
        hint = "`dlx train SPEC` starts, and `dlx train --resume RUN` goes on with a run as it was."
        raise DlxError("give a spec to train, or the run to resume", hint=hint)
    like = None
    if spec is not None and spec.is_dir():  # a run, or a study and its best trial
        from ..sweeps.study import spec_in

        spec = spec_in(spec)
        like = RunFolder(spec.parent)
    changes = [*(overrides or []), *options.source(init_from)]
    loaded = specs.load(spec, changes, plugins=plugin or []) if spec is not None else None
    if plot_schedule and loaded is not None:
        rates = runner.rates(loaded)
        schedules.document(rates) if as_json else schedules.schedules(rates)
        return
    warn_of_password(loaded)
    if loaded is not None:
        from ..analysis import spec_checks

        spec_checks.check(loaded)
    count = training.count_of(loaded) if loaded is not None else 1
    noted: set[str] = set()
    with training.progress(quiet=as_json or quiet, warnings=not as_json, count=count) as shown:
        callback = training.noting(shown, noted)
        if loaded is not None:
            tell = training_time.said_once(quiet=as_json or quiet)
            results = runner.run(loaded, runs, callback, like, tell)
        else:
            loaded, results = runner.resume(lookup.find(str(resume), runs), callback)
    _show(loaded, results, as_json, quiet, noted)
    if any(r.status == "stopped" for r in results.results):
        raise typer.Exit(
            0 if results.results[-1].notes else exit_status.INTERRUPTED
        )  # as long as `max_time`, or Ctrl-C
    check_claims(graph.unmet(loaded, results.graphs) + graph.unmet_by(loaded, results.metrics), overrides)


def _show(experiment: Experiment, results: Results, as_json: bool, quiet: bool, noted: Container[str]) -> None:
    """Print results as they are asked for, warnings that were not `noted` at the start, and how MLflow's mirror
    stands.
    """
    from .. import graph
    from ..experiment import runner
    from ..show import console, training

    warned = results.graphs.warnings
    if as_json:
        console.warnings(problem for problem in warned if problem.path.rpartition(".")[2] == graph.FREEZE)
        console.document(runner.finish_tracking(experiment, results).as_json())
        return
    if quiet:
        training.result_lines(results)
    else:
        training.results(results)
    console.warnings(one for one in warned if quiet or one.sentence not in noted)
    finished = runner.finish_tracking(experiment, results)
    if quiet:
        training.undelivered(finished)
    else:
        training.tracking(finished)


def sweep(
    spec: SpecPath,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUES", help="What varies, and other changes, in Hydra's grammar."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many points, in all.")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="grid, random, tpe, ...: who picks.", autocompletion=completion.samplers),
    ] = None,
    jobs: Annotated[str, typer.Option(metavar="N|auto", help="Processes that train; auto: what GPUs hold.")] = "1",
    backend: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    pack: Annotated[str, typer.Option(metavar="auto|N|off", help="Trainings that are one stacked network.")] = "auto",
    budget: Annotated[str | None, typer.Option(metavar="30m", help="Stop cleanly after this time.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    study: Annotated[str, typer.Option(metavar="NAME", help="Another name for the study's folder.")] = "",
    figures: Annotated[bool, typer.Option("--figures", help="Draw what it showed, even without MLflow.")] = False,
    init_from: InitFrom = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Search: many trainings of a spec that differ in a few values.

    The values of a key are written as Hydra has them: 1,2,3 or choice(1,2), range(1,9), interval(0,1),
    tag(log,interval(1e-5,1e-1)), glob(*); or under `sweep: {space: ...}` in the spec. The same command goes on with a
    study that was cut off, and --trials extends it. `dlx train STUDY` trains the best one again.

    Example: dlx sweep digits/lenet train.batch_size=16,32,64 --jobs 2
    """
    from ..show import sweep as studies
    from ..sweeps import plan as plans
    from ..sweeps import run as sweeps

    chosen = options.sampler(sampler)
    changes = [*(overrides or []), *options.source(init_from), *chosen]
    made = plans.plan(spec, changes, runs, trials, study, plugin or [])
    warn_of_password(made.base)
    spent = sweeps.parse_budget(budget or made.sweep.budget)
    means = sweeps.SweepOptions(
        sweeps.parse_jobs(jobs), backend, sweeps.parse_pack(pack), spent, retry_failed, mirror=True
    )
    with studies.sweeping(quiet=as_json) as callback:
        found = sweeps.run(made, means, callback)
    if figures:
        sweeps.draw_figures(found)
    if as_json:
        studies.ending(sweeps.finish(found), as_json)
    else:
        studies.ending(found, as_json)
        studies.delivered(sweeps.finish(found), sweeps.tracking_uri_of(made))
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def crossval(
    spec: SpecPath,
    overrides: Overrides = None,
    folds: Annotated[
        str | None, typer.Option(metavar="N|leave_one_out", help="How many folds; else the spec's, or 5.")
    ] = None,
    jobs: Annotated[str, typer.Option(metavar="N|auto", help="Processes that train; auto: what GPUs hold.")] = "1",
    pack: Annotated[str, typer.Option(metavar="auto|N|off", help="Folds that are one stacked network.")] = "auto",
    budget: Annotated[str | None, typer.Option(metavar="30m", help="Stop cleanly after this time.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Cross-validate: train once for each fold, and give means with intervals.

    What `test` leaves is cut into equal folds, as `seed`, `stratify` and `split` of the data say; each is the
    validation part once, in place of `valid`. Every metric is given as its mean over the folds, with its standard
    error and 95 % interval (Student's t). The same command goes on with a cross-validation that was cut off.

    Example: dlx crossval digits/lenet --folds 5
    """
    from ..experiment.folds import parse_folds
    from ..show import console, training_time
    from ..show import sweep as studies
    from ..sweeps import folds as cross_validation
    from ..sweeps import run as sweeps

    made, note = cross_validation.plan_folds(spec, overrides or [], runs, parse_folds(folds), plugins=plugin or [])
    warn_of_password(made.base)
    spent = sweeps.parse_budget(budget)
    means = sweeps.SweepOptions(
        sweeps.parse_jobs(jobs), "local", sweeps.parse_pack(pack), spent, retry_failed, mirror=True
    )
    for said in () if as_json else (note, training_time.of_folds(made)):
        if said:
            console.say(said)
    with studies.sweeping(quiet=as_json) as callback:
        found = sweeps.run(made, means, callback)
    if as_json:
        studies.folds(sweeps.finish(found), as_json)
    else:
        studies.folds(found, as_json)
        studies.delivered(sweeps.finish(found), sweeps.tracking_uri_of(made))
    if status := found.exit_code or (1 if found.study.in_state("failed") else 0):
        raise typer.Exit(status)


def baseline(
    spec: SpecPath,
    overrides: Overrides = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND[=OPTIONS]",
            help="knn, svm, 'knn={n_neighbors: 3}', knn=1,3,5; once for each. Else those of the spec.",
            autocompletion=completion.baselines,
        ),
    ] = None,
    folds: Annotated[
        str | None, typer.Option(metavar="N|leave_one_out", help="Cross-validate them on so many folds.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
) -> None:
    """Fit estimators of scikit-learn to the data of a spec, to compare its network with.

    They take the same parts and inputs as the network, and are measured by the same metrics. Each is a run, which
    `dlx runs` lists and MLflow shows beside those of the network. `dlx layers knn` tells of one.

    Example: dlx baseline digits/lenet --kind knn=1,3,5 --kind svm
    """
    from .. import spec as specs
    from ..experiment import baselines as estimators
    from ..experiment.folds import parse_folds
    from ..show import baselines as shown
    from ..spec.baseline_list import with_baselines

    loaded = specs.load(spec, overrides or [], plugins=plugin or [])
    if kind:
        loaded = with_baselines(loaded, kind)
    warn_of_password(loaded)
    found = estimators.run(loaded, runs, parse_folds(folds), shown.progress(quiet=as_json))
    shown.baselines(found, as_json)
    shown.tracking(found, estimators.finish_tracking(found), as_json)


def prove_resume(
    spec: SpecPath,
    overrides: Overrides = None,
    kills: Annotated[int, typer.Option(min=0, metavar="N", help="How often it is killed.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the moments at which it is killed.")] = 0,
    steps: Annotated[int, typer.Option(min=2, metavar="N", help="Steps of each training, at most.")] = 100,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a training that is killed goes on to the same bits.

    Trains the spec as it is written twice, with its seeds or the members of its ensemble: once to the end, and once
    killed by SIGKILL at random moments and resumed each time. The kills come at steps and between them, while a
    checkpoint is written, at the start, and as one of several trainings ends. Then the loss curves are compared, the
    results of each training, and the SHA-256 of every tensor: weights, optimizer, averages, generators. The exit
    status is 1 where one differs; all runs are kept then. A training is cut to 100 steps, or --steps.

    Example: dlx prove-resume digits/lenet --kills 3
    """
    from ..show import console
    from ..show import prove_resume as proofs
    from ..trained import prove_resume

    with prove_resume.retained_on_failure() as home:
        say = prove_resume.silent if as_json else console.say
        found = prove_resume.prove(spec, overrides or [], home, kills, seed, steps, say, plugin or [])
        proofs.proof(found, as_json)
        if not found.equal:
            raise typer.Exit(1)
