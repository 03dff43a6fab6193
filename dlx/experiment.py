"""A whole experiment: run folder, seeds, checkpoints, tracker and progress as plain loops around `fit`."""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .course import Begun, Course, Listener
from .data import Sets
from .errors import DlxError, Problem, SpecError
from .graph import Graph, trace
from .lazy import torch
from .runs import Run
from .spec import Experiment, Train, load, missing_sections, objective_of
from .train import device, groups
from .train.curve import Curve, curve

if TYPE_CHECKING:
    from .track import Mirror
    from .train.fit import Job


@dataclass(frozen=True)
class Result:
    """One finished training."""

    run: Run
    seed: int
    steps: int
    seconds: float
    metrics: dict[str, float]
    status: str = "finished"
    mirror: Mirror | None = None
    tracking: str = ""
    """What became of the mirror in MLflow: `delivered`, `behind` or `failed: why`; empty where there is none."""
    tracking_uri: str = ""


@dataclass(frozen=True)
class Results:
    """One training for each seed."""

    results: tuple[Result, ...]
    graph: Graph

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric's mean over the seeds."""
        return {k: statistics.fmean(r.metrics[k] for r in self.results) for k in self.results[0].metrics}

    @property
    def intervals(self) -> dict[str, float]:
        """Half the 95 % confidence interval of each mean (Student's t); empty for one seed."""
        n = len(self.results)
        if n < 2:
            return {}
        spreads = {k: statistics.stdev(r.metrics[k] for r in self.results) for k in self.results[0].metrics}
        return {k: _student(n - 1) * s / n**0.5 for k, s in spreads.items()}

    def as_json(self) -> dict[str, Any]:
        """The document that `dlx train --json` ends with."""
        first = self.results[0]
        document: dict[str, Any] = {
            "run": first.run.key,
            "dir": str(first.run.dir),
            "steps": first.steps,
            "seconds": round(sum(r.seconds for r in self.results), 3),
            "status": next((r.status for r in self.results if r.status != "finished"), "finished"),
            "metrics": self.metrics,
            "tracking": {"uri": first.tracking_uri, "state": first.tracking} if first.tracking else None,
        }
        if len(self.results) > 1:
            document["interval95"] = self.intervals
            document["seeds"] = [
                {"seed": r.seed, "run": r.run.key, "dir": str(r.run.dir), "metrics": r.metrics} for r in self.results
            ]
        return document


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def run(experiment: Experiment, runs: Path = Path("runs"), listen: Listener | None = None) -> Results:
    """Train a spec, once for each of its seeds. SpecError or DlxError before anything starts, RunError on the way.

    MLflow's mirror may still be at work when this returns: `settle` waits for it.
    """
    graph, sets = prepared(experiment)
    assert experiment.train is not None
    seeds = range(experiment.train.seed, experiment.train.seed + experiment.train.seeds)
    each = [experiment] if len(seeds) == 1 else [experiment.with_seed(seed) for seed in seeds]
    results: list[Result] = []
    for one in each:
        results.append(_run_one(one, graph, sets, runs, listen or (lambda _: None)))
        if results[-1].status != "finished":
            break
    return Results(tuple(results), graph)


def prepared(experiment: Experiment) -> tuple[Graph, Sets]:
    """The graph and the data of a spec that can be trained here. SpecError or DlxError where it cannot."""
    device.calm_threads()
    graph = _ready(experiment)
    assert experiment.train is not None
    device.check_memory(graph, experiment.train, device.free_memory(), experiment.place("network"))
    sets = _load(experiment)
    free = device.free_memory(device.pick(experiment.train.device))
    device.check_memory(graph, experiment.train, free, experiment.place("network"))
    device.check_batch(graph, experiment.train, len(sets.train), free, experiment.place("train", "batch_size"))
    return graph, sets


def rates(experiment: Experiment) -> Curve:
    """The learning rate over the training of a spec, without training. SpecError where it cannot be trained."""
    _ready(experiment)
    assert experiment.train is not None
    return curve(experiment.train, len(_load(experiment).train))


def settle(experiment: Experiment, results: Results) -> Results:
    """Wait for the mirrors, within a common patience, and say what became of each."""
    until = time.monotonic() + PATIENCE

    def settled(result: Result) -> Result:
        if result.mirror is None:
            return result
        from . import track

        uri = track.tracking_uri(result.run, experiment.track.uri)
        state = result.mirror.finish(timeout=max(0.0, until - time.monotonic()))
        return replace(result, tracking=state, tracking_uri=uri)

    return replace(results, results=tuple(map(settled, results.results)))


def _ready(experiment: Experiment) -> Graph:
    """The graph of a spec that can be trained; SpecError with all that stands against it."""
    missing = missing_sections(experiment, "data", "train")
    try:
        graph = trace(experiment)
    except SpecError as error:
        raise SpecError(*missing, *error.problems) from error
    if len(graph.inputs) > 1:
        names = ", ".join(f"`{n}`" for n in graph.inputs)
        hint = "Train a network with one input; this one can be inspected."
        mark = experiment.place("network", "inputs")
        missing.append(
            Problem(f"the data fills one input, and the network has {names}", hint, mark, "network.inputs")
        )
    asked = [name for name in graph.outputs if experiment.data is None or name not in objective_of(experiment).aux]
    if len(asked) > 1:
        names = ", ".join(f"`{n}`" for n in asked)
        mark = experiment.place("network", "outputs")
        message = f"the objective takes one output, and the network has {names}"
        hint = "Keep the one to train, `outputs: NAME`, or weigh the others under `aux` of the objective."
        missing.append(Problem(message, hint, mark, "network.outputs"))
    if not graph.trainable:
        why = "all of its weights are frozen" if graph.params else "no layer of it has weights"
        missing.append(Problem(f"there is nothing to train: {why}", "", experiment.place("network"), "network"))
    if experiment.train is not None:
        missing += groups.problems(experiment, graph)
    if missing:
        raise SpecError(*missing)
    return graph


def _load(experiment: Experiment) -> Sets:
    assert experiment.data is not None
    try:
        return experiment.data.load()
    except DlxError as error:
        mark = experiment.place("data", experiment.data.kind)
        raise SpecError(
            *(Problem(p.message, p.hint, p.mark or mark, p.path or "data") for p in error.problems)
        ) from error


def resume(run: Run, listen: Listener | None = None) -> tuple[Experiment, Results]:
    """Go on with a run that was killed, stopped or failed, from its newest checkpoint, to the same bits.

    Its spec, and its results. DlxError where the run is finished or still running, or its data has changed.
    """
    status = run.status()
    if status in {"finished", "running"}:
        hint = "Train its spec anew: `dlx train RUN/spec.yaml`." if status == "finished" else "Let it run."
        message = f"{run.key} {'has finished' if status == 'finished' else 'is still running'}"
        raise DlxError(message, hint=hint)
    experiment = load(run.dir / "spec.yaml")
    graph, sets = prepared(experiment)
    was = run.read_json("lock.json").get("data", {}).get("digest", sets.digest)
    if was != sets.digest:
        message = f"the data of {run.key} has changed: its digest was {was[:12]}, and is {sets.digest[:12]}"
        raise DlxError(message, hint="Bring the old data back, or train anew.")
    result = _follow(experiment, graph, sets, run, listen or (lambda _: None))
    return experiment, Results((result,), graph)


def _run_one(experiment: Experiment, graph: Graph, sets: Sets, runs: Path, listen: Listener) -> Result:
    folder = Run.create(runs, experiment.name)
    folder.write_text("spec.yaml", experiment.resolved())
    folder.write_json("plan.json", graph.as_json())
    return _follow(experiment, graph, sets, folder, listen)


def _follow(experiment: Experiment, graph: Graph, sets: Sets, folder: Run, listen: Listener) -> Result:
    """A run from where it is to its end."""
    train = experiment.train
    assert train is not None
    course = Course(folder)
    folder.append({"record": "start", "time": time.time()})
    mirror = _mirror(experiment, folder)  # it starts up while torch is imported here
    with course.to_its_end():
        chosen = device.pick(train.device)
        threads = folder.read_json("lock.json").get("threads") or device.threads_for(train, graph, len(sets.train))
        folder.write_json("lock.json", _lock(experiment, sets, train, device.describe(chosen), threads))
        with device.threads(threads):
            job = _job(experiment, graph, sets, chosen)
            notes = course.take_up(job)
            described = device.describe(chosen)
            listen(Begun(folder, graph, described, threads, job.total_steps, train.seed, job.step, notes))
            course.follow(job, listen)
    return Result(folder, train.seed, course.step, course.seconds, course.metrics, course.status, mirror)


def _job(experiment: Experiment, graph: Graph, sets: Sets, chosen: torch.device) -> Job:
    from .network import build
    from .train.fit import Job
    from .train.parts import on_device

    assert experiment.train is not None
    torch.manual_seed(experiment.train.seed)
    network = build(graph, experiment.init).to(chosen)
    return Job(network, objective_of(experiment), experiment.train, on_device(sets, chosen))


def _mirror(experiment: Experiment, folder: Run) -> Mirror | None:
    if not experiment.track.mlflow:
        return None
    from . import track

    return track.start(folder, experiment.track.uri, experiment.track.experiment or experiment.name)


PATIENCE = 10.0
"""Seconds to wait at the end for MLflow; what is still missing then goes on by itself."""


def _lock(experiment: Experiment, sets: Sets, train: Train, where: str, threads: int) -> dict[str, Any]:
    """What else the result depends on."""
    assert experiment.data is not None
    sizes = {name: len(part) for name in ("train", "valid", "test") if (part := getattr(sets, name)) is not None}
    data = {"kind": experiment.data.kind, "digest": sets.digest, "source": sets.source, **sizes}
    if sets.preprocess:
        data["preprocess"] = [step.as_json() for step in sets.preprocess]
    return {
        "dlx": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in ("torch", "numpy", "pydantic", "mlflow", "safetensors")},
        "device": where,
        "threads": threads,
        "commit": _commit(),
        "command": sys.argv,
        "spec": str(experiment.path),
        "spec_hash": hashlib.sha256(experiment.resolved().encode()).hexdigest(),
        "data": data,
        "seed": train.seed,
        "pid": os.getpid(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the code in the working directory, with `+` where it has changes; None outside a repository."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


__all__ = ["Begun", "Listener", "Result", "Results", "objective_of", "prepared", "run", "settle"]
