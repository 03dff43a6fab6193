"""A trained network on its data once more, or on other data; several of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Sets, input_record
from ..data.preprocess import EarlierFit, using_earlier_fit
from ..errors import DlxError, SpecError, did_you_mean, plural
from ..experiment import ensemble
from ..experiment.resume_checks import check_digest
from ..experiment.session import job_of
from ..graph import Graphs, trace, trace_all
from ..objectives import Supervised
from ..objectives.ensemble import check_combine
from ..runs.folder import ENSEMBLE, Run
from ..spec import Experiment, load, supervised_of
from ..training import device, ensemble_metrics
from ..training.checkpoints import checkpoint
from ..training.early_stopping import metric_notes
from ..training.prepared import Prepared

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.input_record import InputRecord
    from ..training.fit import Job

WITHOUT = {
    "running": "has no checkpoint yet",
    "stopped": "was stopped before its first checkpoint",
    "failed": "failed before its first checkpoint",
    "died": "was killed before its first checkpoint",
}
PARTS = ("train", *ensemble_metrics.HELD_OUT)


@dataclass(frozen=True)
class Member:
    """One network and its metrics. `checkpoint` says which of its weights."""

    run: Run
    checkpoint: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """One network, or several: `metrics` are those of the one, or the means and those of all together."""

    members: tuple[Member, ...]
    metrics: dict[str, float]
    combine: str | None = None
    data: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes of the metrics on classes that they leave out."""

    def as_json(self) -> dict[str, Any]:
        """The document of `dlx evaluate --json`."""
        told = [
            {"run": one.run.key, "dir": str(one.run.dir), "checkpoint": one.checkpoint, "metrics": one.metrics}
            for one in self.members
        ]
        document = {"metrics": self.metrics, "combine": self.combine, "data": list(self.data), "members": told}
        return document | {"notes": list(self.notes)}


def evaluate(
    runs: Sequence[Run],
    name: str | None = None,
    parts: Sequence[str] = (),
    data: Sequence[str] = (),
    combine: str | None = None,
) -> Evaluated:
    """The metrics of a run on the parts that it held out, or on `parts`; of several runs, alone and together.

    `name` is a checkpoint, else the final weights; `data` are changes to the run's data, `key=value`. The run of an
    ensemble stands for its members; the snapshots of a run answer together where no checkpoint is named.
    DlxError where a checkpoint or a part is missing, or the data has changed.
    """
    device.limit_thread_spinning()
    members, how = members_of(runs, combine)
    with device.threads(members[0].threads()):
        jobs = _jobs(members, name or "final", data)
        names = _parts(jobs[0], parts, members[0])
        each = [_alone(job, names) for job in jobs]
        told = tuple(Member(r, name or "final", m) for r, m in zip(members, each, strict=True))
        notes = metric_notes(jobs[0])
        if len(members) == 1:
            mine, folder = jobs[0].train.ensemble, members[0].dir / "checkpoints"
            said = combine or (mine.combine if mine is not None and mine.snapshots and name is None else None)
            snapshots = ensemble_metrics.of_snapshots(jobs[0], folder, names, said) if name is None else {}
            return Evaluated(told, each[0] | snapshots, said if snapshots else None, tuple(data), notes)
        _check_alike(jobs, members, how)
        pairs = [(job.network.eval(), job.parts) for job in jobs]
        found = ensemble.mean(each) | ensemble_metrics.measure(pairs, jobs[0].supervised.objective, how, names)
        return Evaluated(told, found, how, tuple(data), notes)


def members_of(runs: Sequence[Run], combine: str | None) -> tuple[list[Run], str]:
    """The runs that have weights, and how they are combined: as is said, as the ensemble says, or by the average."""
    found, said = [], None
    for run in runs:
        inner = ensemble.members_in(run)
        said = said or (run.read_json(ENSEMBLE).get("combine") if inner else None)
        found += inner or [run]
    return found, combine or said or "average"


def _jobs(runs: Sequence[Run], name: str, data: Sequence[str]) -> list[Job]:
    """Each run as a training that has come to its end. Those with the same data share it."""
    loaded: list[tuple[Dataset | None, Sets]] = []
    jobs = []
    for run in runs:
        weights_of(run, name)
        experiment = load(run.file("spec.yaml"))
        if data:
            experiment = changed(experiment, data)
        sets = next((sets for known, sets in loaded if known == experiment.data), None)
        if data:
            job = _job_on_other(experiment, run)
        else:
            if sets is None:
                sets = _sets(experiment, run)
                loaded.append((experiment.data, sets))
            job = _job(experiment, trace_all(experiment), sets)
        checkpoint.load_weights(job.network, run.dir / "checkpoints", name)
        jobs.append(job)
    return jobs


def _job(experiment: Experiment, graphs: Graphs, sets: Sets) -> Job:
    return job_of(Prepared.unchecked(experiment, graphs, sets))


def _job_on_other(experiment: Experiment, run: Run) -> Job:
    """A training on other data, which go through the steps that were fitted to the run's own."""
    assert experiment.data is not None
    objective = supervised_of(experiment)
    known = input_record.load(run.dir)
    if known is None:
        message = f"{run.key} is of an older dlx, and has not kept how its data was preprocessed"
        raise DlxError(message, hint="Train its spec anew: `dlx train RUN/spec.yaml`.")
    earlier = EarlierFit(run.key, known.raw, known.steps, known.reading, known.class_names)
    with using_earlier_fit(earlier), input_record.understood(run.dir):
        sets = experiment.data.load()
        _check_kind(experiment.data, sets, known, run)
        graph = trace(replace(experiment, data=None), known.inputs)
        return _job(replace(experiment, objective=objective), Graphs.of(graph), sets)


def changed(experiment: Experiment, data: Sequence[str]) -> Experiment:
    """The experiment with other data: `test=500` means the field `test` of its data."""
    assert experiment.data is not None
    kind = experiment.data.kind
    if wrong := [change for change in data if "=" not in change]:
        raise DlxError(f"`--data {wrong[0]}` says no value", hint=f"Write `--data {wrong[0]}=VALUE`.")
    other = experiment.changed([f"++data.{kind}.{change.removeprefix(f'{kind}.')}" for change in data])
    if other.problems:
        raise SpecError(*other.problems)
    return other


def _sets(experiment: Experiment, run: Run) -> Sets:
    """The data of a run."""
    assert experiment.data is not None
    sets = experiment.data.load()
    check_digest(run, sets, "Bring the old data back, or say with `--data` what is to be taken.")
    return sets


def _check_kind(data: Dataset, sets: Sets, known: InputRecord, run: Run) -> None:
    """DlxError where the network cannot be asked about other data."""
    facts = data.facts()
    pairs: list[tuple[str, object, object]] = [
        ("targets of shape", facts.target, known.facts.target),
        ("the classes", ", ".join(sets.class_names), ", ".join(known.class_names)),
    ]
    if facts.classes is not None and facts.classes > (known.facts.classes or 0):
        pairs.append(("classes, in number", facts.classes, known.facts.classes))
    if wrong := [(what, now, was) for what, now, was in pairs if now != was]:
        what, now, was = wrong[0]
        message = f"the data given has {what} {now}, and {run.key} was trained on {was}"
        raise DlxError(message, hint="Give data like it.")


def weights_of(run: Run, name: str) -> Path:
    """The folder of a run's checkpoints. DlxError where it has none of this name."""
    folder = run.dir / "checkpoints"
    there = sorted(path.stem for path in folder.glob("*.safetensors") if not path.name.startswith("."))
    if name not in there:
        without = WITHOUT.get(run.status(), "has no checkpoint any more")
        missing = f"{run.key} has no checkpoint `{name}`" if there else f"{run.key} {without}"
        raise DlxError(missing, hint=did_you_mean(name, there, "the checkpoints"))
    return folder


def _parts(job: Job, asked: Sequence[str], run: Run) -> list[str]:
    """The parts to evaluate: those asked for, those held out, or else what was trained on."""
    if strange := [name for name in asked if name not in job.parts]:
        hint = did_you_mean(strange[0], job.parts, "the parts")
        raise DlxError(f"the data of {run.key} has no part `{strange[0]}`", hint=hint)
    return (
        list(dict.fromkeys(asked)) or [name for name in ensemble_metrics.HELD_OUT if name in job.parts] or ["train"]
    )


def _alone(job: Job, names: Sequence[str]) -> dict[str, float]:
    from ..training.fit import evaluate as measured

    found: dict[str, float] = {}
    for name in names:
        found |= measured(job, name)
    return found


def _check_alike(jobs: Sequence[Job], runs: Sequence[Run], how: str) -> None:
    """DlxError where networks cannot answer together."""
    if other := next((job for job in jobs if not isinstance(job.objective, Supervised)), None):
        raise DlxError(f"networks answer together where they learn targets, and `{other.objective.kind}` has phases")
    told = [(job.objective.kind, job.supervised.objective.loss.kind) for job in jobs]
    if odd := next((i for i, one in enumerate(told) if one != told[0]), 0):
        both = " and ".join(f"{runs[i].key} {told[i][0]} with {told[i][1]}" for i in (0, odd))
        raise DlxError(f"{plural(len(jobs), 'run')} answer together where they were trained for one thing: {both}")
    if problem := check_combine(jobs[0].supervised.objective, how):
        raise DlxError(problem)
