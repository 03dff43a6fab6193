"""Networks that answer together: the members of an ensemble, its own run folder, and what stands against one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import DlxError, Problem, plural
from .objectives.together import misfit
from .results import mean_of
from .runs import ENSEMBLE, Run
from .spec import Experiment, objective_of
from .train import checkpoint, together

if TYPE_CHECKING:
    from torch import device as Device

    from .data import Sets
    from .graph import Graph


def problems(experiment: Experiment) -> list[Problem]:
    """What stands against an ensemble of this network, apart from the data."""
    ensemble = experiment.train.ensemble if experiment.train is not None else None
    if ensemble is None or experiment.data is None:
        return []
    found = misfit(objective_of(experiment), ensemble.combine)
    if found is None:
        return []
    place = experiment.place("train", "ensemble", "combine")
    return [Problem(found.message, found.hint, place, "train.ensemble")]


def check_cycles(experiment: Experiment, examples: int) -> None:
    """DlxError where a training on so many examples ends before there are as many cycles as snapshots."""
    train = experiment.train
    if train is None or train.ensemble is None or not train.ensemble.snapshots:
        return
    span, wanted = train.span(examples), train.ensemble.snapshots
    cycles = train.schedule.cycles(span)
    if len(cycles) >= wanted:
        return
    there = f"{len(cycles)} in {span.steps:,} steps of {span.per_epoch:,} an epoch"
    raise DlxError(
        Problem(
            f"{wanted} snapshots want {wanted} cycles, and {train.schedule.kind} ends {there}",
            "Train longer, or make the cycles shorter: `dlx train --plot-schedule` shows them.",
            experiment.place("train", "ensemble"),
            "train.ensemble.snapshots",
        )
    )


def members_of(experiment: Experiment) -> list[Experiment]:
    """The experiment of each member: the same with a seed of its own, and perhaps examples of its own."""
    train = experiment.train
    assert train is not None
    assert train.ensemble is not None
    changes = ["~train.ensemble", *(["++train.bootstrap=true"] if train.ensemble.bootstrap else [])]
    return [experiment.with_seed(train.seed + i, changes) for i in range(train.ensemble.members or 0)]


class Gathering:
    """The run of an ensemble on its way: which runs are its members, and an end record in any case."""

    def __init__(self, run: Run, combine: str) -> None:
        self.run, self.combine = run, combine
        self.keys = run.members()
        self.metrics: dict[str, float] = {}
        self.status, self.message, self.steps = "failed", "", 0
        self.started = time.perf_counter()
        self.seconds = 0.0

    def noting(self, create: Callable[[Experiment], Run]) -> Callable[[Experiment], Run]:
        """Wrap `create`: record which run is which member before anything is trained in it."""

        def created(member: Experiment) -> Run:
            run = create(member)
            self.keys.append(run.key)
            self.run.write_json(ENSEMBLE, {"combine": self.combine, "members": self.keys})
            return run

        return created

    @contextmanager
    def to_its_end(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self.status = "stopped"
            raise
        except DlxError as error:
            self.message = error.problems[0].message
            raise
        except BaseException as error:
            self.message = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.seconds = time.perf_counter() - self.started
            record = {"record": "end", "time": time.time(), "step": self.steps, "seconds": round(self.seconds, 3)}
            self.run.append({**record, "status": self.status, "message": self.message, "metrics": self.metrics})


def judged(experiment: Experiment, graph: Graph, sets: Sets, runs: Sequence[Run], on: Device) -> dict[str, float]:
    """What the trained members say together of the validation and test parts."""
    from .network import build
    from .train.augmented import augmented
    from .train.parts import on_device

    assert experiment.train is not None
    assert experiment.train.ensemble is not None
    shown = augmented(on_device(sets, on), experiment.train, objective_of(experiment), sets.preprocess)
    parts = {name: part for name, part in shown.items() if name in together.HELD_OUT}
    networks = [build(graph, experiment.init) for _ in runs]
    for network, run in zip(networks, runs, strict=True):
        checkpoint.load_weights(network, run.dir / "checkpoints")
    objective, how = objective_of(experiment), experiment.train.ensemble.combine
    return together.measure([(network.to(on).eval(), parts) for network in networks], objective, how)


def mean(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each metric's mean over the members, of those that all have: one that was stopped may have fewer."""
    shared = [name for name in metrics[0] if all(name in one for one in metrics)]
    return {name: mean_of([one[name] for one in metrics]) for name in shared}


def members_in(run: Run) -> list[Run]:
    """The runs of an ensemble's members; none for any other run. DlxError where one is gone."""
    keys = run.members()
    found = [Run(run.root / key) for key in keys]
    if gone := [member.key for member in found if not member.dir.is_dir()]:
        hint = "Bring its folder back, or train the ensemble anew."
        raise DlxError(f"{run.key} has {plural(len(keys), 'member')}, and {gone[0]} is gone", hint=hint)
    return found
