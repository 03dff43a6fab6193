"""Evaluate trained networks on their data or on other data, one by one and together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Sets, input_record
from ..data.preprocess import EarlierFit, using_earlier_fit
from ..data.text.recorded import reading_of_run
from ..errors import DataError, DlxError, did_you_mean, plural
from ..experiment import ensemble
from ..experiment.resume_checks import check_digest, check_network
from ..experiment.session import job_of
from ..graph import Graphs, trace, trace_all
from ..objectives import Supervised
from ..objectives.ensemble import check_combine
from ..runs.folder import ENSEMBLE, RunFolder
from ..spec import Experiment, load, objective_of, supervised_of
from ..training import device, ensemble_metrics, network_checks, network_sources, process
from ..training.checkpoints import checkpoint
from ..training.early_stopping import metric_notes
from ..training.phased import Phased
from ..training.prepared import Prepared
from . import other_data, pictures, row_files
from .closer import METRICS_ALONE, Closer, looked_at
from .slices import Slice, slice_table
from .worst import Worst, joined

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.input_record import InputRecord
    from ..training.fit import Job

BRING_BACK = "Bring the old data back: a run is looked at with the data that it was trained on."
OTHERWISE = "Bring the old data back, or say with `--data` what is to be taken."
WITHOUT = {
    "running": "has no checkpoint yet",
    "stopped": "was stopped before its first checkpoint",
    "failed": "failed before its first checkpoint",
    "died": "was killed before its first checkpoint",
}
VALUES = 100_000
"""Examples of other data whose values are looked at, at most."""
PARTS = ("train", *ensemble_metrics.HELD_OUT)


@dataclass(frozen=True)
class Member:
    """One network and its metrics; `checkpoint` names its weights."""

    run: RunFolder
    checkpoint: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """Metrics of one network; of several, their means and those of all together."""

    members: tuple[Member, ...]
    metrics: dict[str, float]
    combine: str | None = None
    data: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes of the metrics on classes that they leave out."""
    wrong: tuple[Worst, ...] = ()
    """The worst examples of each part, by head."""
    by: str | None = None
    """The column of the slices."""
    slices: tuple[Slice, ...] = ()
    pictures: tuple[Any, ...] = ()
    """Pictures of the worst examples, (n, height, width, channels) for each of `wrong`."""

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return titles and rows of the worst examples, else of the slices."""
        return joined(self.wrong) if self.wrong else slice_table(str(self.by), self.slices)

    def write(self, path: Path) -> None:
        """Write the worst examples, else the slices, to .csv, .parquet or .jsonl."""
        row_files.write_rows(path, *self.table())

    def write_pictures(self, path: Path) -> None:
        """Write a sheet with the pictures of the worst examples, a .png."""
        pictures.write(path, list(zip(self.wrong, self.pictures, strict=True)))

    def as_json(self) -> dict[str, Any]:
        """Return the document of `dlx evaluate --json`."""
        trained = [
            {"run": one.run.key, "dir": str(one.run.dir), "checkpoint": one.checkpoint, "metrics": one.metrics}
            for one in self.members
        ]
        document: dict[str, Any] = {
            "metrics": self.metrics,
            "combine": self.combine,
            "data": list(self.data),
            "members": trained,
        }
        document["notes"] = list(self.notes)
        if self.wrong:
            document["wrong"] = [one.as_json() for one in self.wrong]
        if self.by is not None:
            document["by"] = {"column": self.by, "slices": [one.as_json() for one in self.slices]}
        return document


def evaluate(
    runs: Sequence[RunFolder],
    name: str | None = None,
    parts: Sequence[str] = (),
    data: Sequence[str] = (),
    combine: str | None = None,
    closer: Closer = METRICS_ALONE,
) -> Evaluated:
    """Return the metrics of a run on its validation and test parts, or on `parts`; of several runs, one by one
    and together.

    `name` is a checkpoint, else the final weights; `data` are changes to the run's data, `key=value`, or a
    file like it, all of which is measured as its test part. The run of an
    ensemble stands for its members; the snapshots of a run answer together where no checkpoint is named. `closer`
    asks for the worst examples and for slices, of one network or of the average of several. Raises DlxError where a
    checkpoint or a part is missing, or the data has changed.
    """
    process.tune()
    members, how = members_of(runs, combine)
    closer.check(members, how)
    with device.threads(members[0].threads()):
        loaded = _jobs(members, name or "final", data)
        jobs = [one.job for one in loaded]
        names = _parts(jobs[0], parts, members[0])
        each = [_metrics_of(job, names) for job in jobs]
        trained = tuple(Member(r, name or "final", m) for r, m in zip(members, each, strict=True))
        notes = metric_notes(jobs[0])
        if len(members) == 1:
            mine, folder = jobs[0].train.ensemble, members[0].dir / "checkpoints"
            requested = combine or (mine.combine if mine is not None and mine.snapshots and name is None else None)
            snapshots = ensemble_metrics.of_snapshots(jobs[0], folder, names, requested) if name is None else {}
            seen = _looked_at(loaded, members[0], names, closer)
            metrics, how_many = each[0] | snapshots, requested if snapshots else None
            return Evaluated(trained, metrics, how_many, tuple(data), notes, **seen)
        _check_compatible(jobs, members, how)
        pairs = [(job.network.eval(), job.parts) for job in jobs]
        found = ensemble.mean(each) | ensemble_metrics.measure(pairs, jobs[0].supervised.objective, how, names)
        return Evaluated(trained, found, how, tuple(data), notes, **_looked_at(loaded, members[0], names, closer))


def members_of(runs: Sequence[RunFolder], combine: str | None) -> tuple[list[RunFolder], str]:
    """Return the runs that have weights, and how they are combined: `combine`, else as the ensemble says, else
    the average.
    """
    found, requested = [], None
    for run in runs:
        inner = ensemble.members_in(run)
        requested = requested or (run.read_json(ENSEMBLE).get("combine") if inner else None)
        found += inner or [run]
    return found, combine or requested or "average"


@dataclass(frozen=True)
class Loaded:
    """A run as a training at its end, and its data."""

    job: Job
    source: Dataset
    sets: Sets
    earlier: EarlierFit | None = None
    """The fit of the run's own data, where this is other data."""


def _jobs(runs: Sequence[RunFolder], name: str, data: Sequence[str], changed: str = "") -> list[Loaded]:
    """Build each run as a training at its end. Runs with the same data share it."""
    loaded: list[tuple[Dataset | None, Sets]] = []
    jobs = []
    for run in runs:
        weights_of(run, name)
        experiment = load(run.file("spec.yaml"))
        if data:
            assert experiment.data is not None
            whole = other_data.file_of(experiment.data, data) is not None
            one = _job_with_data(other_data.changed(experiment, data), run, whole)
        else:
            with reading_of_run(input_record.reading_of(run.dir)):
                sets = next((sets for known, sets in loaded if known == experiment.data), None)
                if sets is None:
                    sets = _sets(experiment, run, changed or OTHERWISE)
                    loaded.append((experiment.data, sets))
                assert experiment.data is not None
                one = Loaded(_job(experiment, trace_all(experiment.last_stage), sets, run), experiment.data, sets)
        checkpoint.load_weights(one.job.network, run.dir / "checkpoints", name)
        jobs.append(one)
    return jobs


def job_of_run(run: RunFolder, name: str) -> Loaded:
    """Build a run as a training at its end, with the weights of a checkpoint, and its data."""
    return _jobs([run], name, (), BRING_BACK)[0]


def _looked_at(loaded: Sequence[Loaded], run: RunFolder, names: Sequence[str], closer: Closer) -> dict[str, Any]:
    """Return what a closer look shows, as fields of `Evaluated`; sources and names are those of the first network."""
    if closer == METRICS_ALONE:
        return {}
    one, jobs = loaded[0], [each.job for each in loaded]
    with using_earlier_fit(one.earlier) if one.earlier is not None else nullcontext():
        return looked_at(jobs, one.source, one.sets, input_record_of(run), names, closer)


def input_record_of(run: RunFolder) -> InputRecord:
    """Return the record of a run's inputs; for an older run without one, from its data."""
    known = input_record.load(run.dir)
    if known is not None:
        return known
    experiment = load(run.file("spec.yaml"))
    if experiment.data is None:
        raise DlxError(f"{run.key} names no data, and cannot be asked")
    graph = trace(experiment.last_stage)
    return input_record.of(experiment.data, experiment.data.load(), graph.inputs, graph.fields_taken)


def _job(experiment: Experiment, graphs: Graphs, sets: Sets, run: RunFolder) -> Job:
    sources = network_sources.load(experiment, run.dir)
    for name, one in sources.items():
        check_network(run, name, run.lock().get("networks", {}).get(name, {}), one.digest)
    return job_of(Prepared.unchecked(experiment, graphs, sets), sources=sources)


def _job_with_data(experiment: Experiment, run: RunFolder, whole: bool) -> Loaded:
    """Build a training on other data, which is preprocessed by the steps that were fitted to the run's own.

    With `whole` all of it is the test part.
    """
    assert experiment.data is not None
    last = experiment.last_stage
    phased = not isinstance(objective_of(last), Supervised)
    known = input_record.load(run.dir) or (_record_of_data(run) if phased else None)
    if known is None:
        message = f"{run.key} is of an older dlx, and has not kept how its data was preprocessed"
        raise DlxError(message, hint="Train its spec anew: `dlx train RUN/spec.yaml`.")
    further = known.raw_more, known.steps_more
    earlier = EarlierFit(run.key, known.raw, known.steps, known.reading, known.class_names, *further)
    # data is loaded and split as in training, but preprocessed by the steps of the record, which are not fitted anew
    with using_earlier_fit(earlier), input_record.understood(run.dir):
        sets = experiment.data.load()
        sets = other_data.measured_whole(sets) if whole else sets
        _check_kind(experiment.data, sets, known, run)
        if phased:
            job = _job_of_phases(last, known, sets, run)
            return Loaded(job, experiment.data, sets, earlier)
        bare = replace(experiment, data=None, known_facts=known.facts)
        graph = replace(trace(bare, known.inputs), fields=known.fields)
        made = replace(experiment, objective=supervised_of(experiment))
        job = job_of(Prepared.unchecked(made, Graphs.of(graph), sets, known.targets))
        return Loaded(job, experiment.data, sets, earlier)


def _record_of_data(run: RunFolder) -> InputRecord:
    """Return the record of a run whose objective has phases and which has kept none, from its data."""
    experiment = load(run.file("spec.yaml")).last_stage
    assert experiment.data is not None
    shapes = {name: one.shape for name, one in experiment.data.facts().inputs.items()}
    return input_record.of(experiment.data, experiment.data.load(), shapes)


def _job_of_phases(experiment: Experiment, known: InputRecord, sets: Sets, run: RunFolder) -> Job:
    """Build a training of an objective with phases on other data. DlxError where its examples are of another kind."""
    assert experiment.data is not None
    now, was = experiment.data.facts().fields, known.facts.fields
    if lacking := [name for name in was if name not in now]:
        message = f"the data given has no `{lacking[0]}`, and {run.key} was trained with it"
        raise DlxError(message, hint="Give data like it.")
    job = _job(experiment, trace_all(experiment), sets, run)
    assert isinstance(job.learner, Phased)
    for part in job.parts.values():
        for batch in part.evenly(VALUES).chunks(VALUES):
            network_checks.check_values(job.learner.evaluated, batch, run.key)
    return job


def _sets(experiment: Experiment, run: RunFolder, hint: str) -> Sets:
    """Load the data of a run, and check that it has not changed. DataError, with the run's name, where it is gone."""
    assert experiment.data is not None
    try:
        sets = experiment.data.load()
    except DataError as error:
        first, *others = error.problems
        raise DataError(replace(first, message=f"the data of {run.key}: {first.message}"), *others) from error
    check_digest(run, sets, hint)
    return sets


def _check_kind(data: Dataset, sets: Sets, known: InputRecord, run: RunFolder) -> None:
    """Raise DlxError where other data has targets or classes that the network does not know."""
    facts = data.facts()
    pairs: list[tuple[str, object, object]] = [
        ("targets of shape", facts.target, known.facts.target),
        ("the targets", ", ".join(facts.targets), ", ".join(known.facts.targets)),
        ("the classes", ", ".join(sets.class_names), ", ".join(known.class_names)),
    ]
    if facts.classes is not None and facts.classes > (known.facts.classes or 0):
        pairs.append(("classes, in number", facts.classes, known.facts.classes))
    if wrong := [(what, now, was) for what, now, was in pairs if now != was]:
        what, now, was = wrong[0]
        message = f"the data given has {what} {now}, and {run.key} was trained on {was}"
        raise DlxError(message, hint="Give data like it.")


def weights_of(run: RunFolder, name: str) -> Path:
    """Return the folder of a run's checkpoints. Raises DlxError where it has none of this name."""
    if label := run.baseline():
        hint = "`dlx baseline` fits it again in seconds, on the spec in its folder too."
        raise DlxError(f"{run.key} is the baseline {label}, whose estimator is not kept", hint=hint)
    folder = run.dir / "checkpoints"
    there = sorted(path.stem for path in folder.glob("*.safetensors") if not path.name.startswith("."))
    if name not in there:
        without = WITHOUT.get(run.status(), "has no checkpoint any more")
        missing = f"{run.key} has no checkpoint `{name}`" if there else f"{run.key} {without}"
        hint = did_you_mean(name, there, "the checkpoints")
        if there and name == "final":  # the end of a training that has not come there
            more = f"`dlx train --resume {run.key}` goes on with it" if run.status() != "running" else "it still runs"
            hint = f"Its newest is `--checkpoint {there[-1]}`; {more}."
        raise DlxError(missing, hint=hint)
    return folder


def part_of(job: Job, asked: str | None, run: RunFolder) -> str:
    """Return the part that is looked at: `asked`, else test, else validation, else training. DlxError for another."""
    chosen = asked or next(known for known in reversed(PARTS) if known in job.parts)
    if chosen not in job.parts:
        message = f"the data of {run.key} has no part `{chosen}`"
        raise DlxError(message, hint=f"There is {', '.join(job.parts)}.")
    return chosen


def _parts(job: Job, asked: Sequence[str], run: RunFolder) -> list[str]:
    """Return the parts to evaluate: `asked`, else validation and test, else the training part."""
    if strange := [name for name in asked if name not in job.parts]:
        hint = did_you_mean(strange[0], job.parts, "the parts")
        raise DlxError(f"the data of {run.key} has no part `{strange[0]}`", hint=hint)
    return (
        list(dict.fromkeys(asked)) or [name for name in ensemble_metrics.HELD_OUT if name in job.parts] or ["train"]
    )


def _metrics_of(job: Job, names: Sequence[str]) -> dict[str, float]:
    from ..training.fit import evaluate as measured

    found: dict[str, float] = {}
    for name in names:
        found |= measured(job, name)
    return found


def _check_compatible(jobs: Sequence[Job], runs: Sequence[RunFolder], how: str) -> None:
    """Raise DlxError where networks cannot answer together."""
    if other := next((job for job in jobs if not isinstance(job.objective, Supervised)), None):
        raise DlxError(f"networks answer together where they learn targets, and `{other.objective.kind}` has phases")
    losses = [(job.objective.kind, job.supervised.objective.loss.kind) for job in jobs]
    if differing := next((i for i, one in enumerate(losses) if one != losses[0]), 0):
        both = " and ".join(f"{runs[i].key} {losses[i][0]} with {losses[i][1]}" for i in (0, differing))
        raise DlxError(f"{plural(len(jobs), 'run')} answer together where they were trained for one thing: {both}")
    if problem := check_combine(jobs[0].supervised.objective, how):
        raise DlxError(problem)
