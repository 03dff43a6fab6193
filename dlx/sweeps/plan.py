"""Plan of a sweep, from its spec and overrides: search space, sampler, scheduler, metrics and folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DlxError, Problem, SpecError, did_you_mean
from ..metrics import RUNNING_LOSS
from ..objectives import Supervised
from ..registry import Strict
from ..runs import lookup
from ..spec import Experiment, load, missing_sections, objective_of
from ..spec.overrides import parse
from ..spec.plugin_list import split
from ..spec.sections.expect import CLAIMING, without_claims
from ..spec.sections.sweep import Sweep
from ..spec.sections.sweep_values import MOST, Dimension
from ..spec.strategies import SAMPLERS, SCHEDULERS, Sampler, Scheduler
from ..training import early_stopping
from .feasible import Constraints, Planner
from .leaderboard import MIN_SEEDS
from .seed_averages import is_replicate, replicate_keys_of
from .space import Space
from .study import folder_of

DEFAULT_TRIALS = 64
"""Trials where neither the command nor the spec gives their number, and the space is not finite."""
PLAN_METRICS = ("params", "macs")
"""Figures of a plan that may be searched for beside metrics."""
NON_ADAPTIVE = ("grid", "random", "quasi_random")
"""Samplers that do not look at results."""
IGNORED_SECTIONS = ("sweep", *CLAIMING, "analyses", "track", "source", "dlx", "name")
"""Sections on which no result of a trial depends."""


@dataclass(frozen=True)
class SweepPlan:
    """All that decides about the results of a study, and its folder."""

    base: Experiment
    sweep: Sweep
    space: Space
    planner: Planner
    sampler: Sampler
    scheduler: Scheduler
    metrics: tuple[str, ...]
    rising: tuple[bool, ...]
    seeds: int
    trials: int
    runs: Path
    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of the study. The number of trials, the workers and the time are no part of it, so that they
        may change.
        """
        return {
            "spec": _shared_spec(self.planner, self.space),
            "space": self.space.as_json(),
            "constraints": self.sweep.texts,
            "sampler": _dumped(self.sampler),
            "scheduler": _dumped(self.scheduler),
            "metrics": list(self.metrics),
            "rising": list(self.rising),
            "seeds": self.seeds,
            "seed": self.sweep.seed,
            "generation": self.sweep.generation,
        }

    def experiments(self, first: Experiment) -> dict[int, Experiment]:
        """Return the experiments of a trial by seed, from that of the first seed."""
        assert first.train is not None
        seed = first.train.seed
        return {seed: first} | {seed + i: first.with_seed(seed + i) for i in range(1, self.seeds)}


def plan(
    spec: Path | Experiment,
    changes: Sequence[str],
    runs: Path,
    trials: int | None = None,
    study: str = "",
    plugins: Sequence[str] = (),
) -> SweepPlan:
    """Plan `dlx sweep`. Raises SpecError with all mistakes.

    `trials` is the number of trials in all; `study` the name of the folder, else the hash of its identity.
    """
    own = [text for text in split(changes)[0] if not parse(text).is_sweep_override()]
    changes = [text for text in changes if text not in own]
    loaded = spec.changed(own) if isinstance(spec, Experiment) else load(spec, own, plugins=plugins)
    loaded = lookup.with_source(loaded, runs)
    space, plain = Space.of(loaded, changes)
    base = lookup.with_source(loaded.changed(plain), runs)  # an override may be what names the run
    if problems := [*base.problems, *missing_sections(base, "data", "train")]:
        raise SpecError(*problems)
    assert base.train is not None
    sweep = base.sweep or Sweep()
    metrics = _metrics(base, sweep)
    wanted = trials or sweep.trials
    grid = wanted is None and space.size is not None
    sampler = sweep.sampler or SAMPLERS["grid" if grid else "tpe"]()
    listed = sampler.kind == "grid" and space.size is not None
    if listed and wanted is None and (space.size or 0) > MOST:
        message = f"the grid has {space.size:,} points, and {MOST:,} are the most that are tried one by one"
        hint = "Say how many to try, `--trials 64`, or give the ranges larger steps."
        raise SpecError(Problem(message, hint, _longest(space).mark, "sweep.space"))
    seeds = sweep.seeds if sweep.seeds > 1 else base.train.seeds
    if sweep.until_alike is not None and seeds < MIN_SEEDS:
        message = f"`until_alike` takes {MIN_SEEDS} seeds of each point to know chance, and there {_are(seeds)}"
        hint = f"Write `seeds: {MIN_SEEDS}` beside it."
        raise SpecError(Problem(message, hint, base.place("sweep", "until_alike"), "sweep.until_alike"))
    bare = [f"++train.seed={base.train.seed}", "++train.seeds=1", *without_claims(base.written)]
    _check_replicates(base, space, sampler, sweep, seeds)
    _check_stages(base, sweep)
    made = SweepPlan(
        base=base,
        sweep=sweep,
        space=space,
        planner=Planner(base.changed(bare), space, Constraints.of(base)),
        sampler=sampler,
        scheduler=sweep.scheduler or SCHEDULERS["none"](),
        metrics=metrics,
        rising=tuple(_rises(name, base) for name in metrics),
        seeds=seeds,
        trials=wanted or (space.size if listed and space.size is not None else DEFAULT_TRIALS),
        runs=runs,
        folder=runs / base.name / study,
    )
    return made if study else replace(made, folder=folder_of(runs, base.name, made.identity))


def check(experiment: Experiment) -> None:
    """Raise SpecError with the mistakes of the section `sweep`, as far as what a spec has lets them be seen."""
    if all(experiment.root.at(name) is not None for name in ("data", "train")):
        plan(experiment, (), Path("runs"))
    else:
        Space.of(experiment)


def _check_stages(base: Experiment, sweep: Sweep) -> None:
    """Raise SpecError where trials of several stages would be compared on the way, by metrics of different stages."""
    kind = sweep.scheduler.kind if sweep.scheduler is not None else "none"
    if base.stages and kind != "none":
        message = f"{kind} compares trials on the way, and the spec has `stages`, each with metrics of its own"
        hint = "Leave `scheduler` out: each trial goes through all stages."
        raise SpecError(Problem(message, hint, base.place("sweep", "scheduler"), "sweep.scheduler"))


def _longest(space: Space) -> Dimension:
    """Return the dimension with the most values."""
    return max(space.dimensions, key=lambda dimension: dimension.size or 0)


def _check_replicates(base: Experiment, space: Space, sampler: Sampler, sweep: Sweep, seeds: int) -> None:
    """Raise SpecError where the best of several folds or seeds would be searched for."""
    keys = " and ".join(f"`{one.key}`" for one in space.dimensions if is_replicate(one.key))
    problems = []
    for one in space.dimensions:
        section, _, variable = one.key.partition(".")
        if section == "vars" and (replicates := replicate_keys_of(variable, base.written.plain())):
            message = f"`{one.key}` is given to `{replicates[0]}` alone, and its best value would be chosen"
            problems.append(
                Problem(message, f"Vary `{replicates[0]}` itself: it is averaged over.", one.mark, one.key)
            )
        if one.key == "train.seed" and seeds > 1:
            message = f"`train.seed` varies, and `seeds` asks for {seeds:,} of each point: both say which seeds"
            problems.append(Problem(message, "Give one of the two.", one.mark, one.key))
    if keys and sampler.kind not in NON_ADAPTIVE:
        message = f"{keys} is averaged over, and {sampler.kind} would look for its best value"
        hint = "Take `sampler: grid`, or `sweep: {seeds: N}` for seeds."
        problems.append(Problem(message, hint, base.place("sweep", "sampler"), "sweep.sampler"))
    if keys and sweep.scheduler is not None and sweep.scheduler.kind != "none":
        message = f"{keys} is averaged over, and {sweep.scheduler.kind} would end its worse values early"
        hint = "Leave out `scheduler`."
        problems.append(Problem(message, hint, base.place("sweep", "scheduler"), "sweep.scheduler"))
    if problems:
        raise SpecError(*problems)


def _are(count: int) -> str:
    return f"are {count}" if count > 1 else "is 1"


def _metrics(base: Experiment, sweep: Sweep) -> tuple[str, ...]:
    """Return the metrics that are searched for. Raises SpecError where no trial would report one."""
    objective = objective_of(base)
    modes, main = objective.modes(), objective.main_metric
    metrics = [sweep.metric] if isinstance(sweep.metric, str) else sweep.metric or []
    if not metrics and "error" in modes:
        return ("valid/error",)
    if not metrics and main is not None and not isinstance(objective, Supervised):
        return (f"valid/{main}",)  # not the loss of a `vae`, whose unit is that of `beta`
    if not metrics and "loss" in modes:
        return ("valid/loss",)
    final_metrics = [f"train/{name}" for name in modes]
    running_metrics = (
        [RUNNING_LOSS] if "loss" in modes else []
    )  # phases have terms of their own on the way, and no one loss
    known = [*(f"valid/{name}" for name in modes), *final_metrics, *running_metrics, *PLAN_METRICS]
    compares = sweep.scheduler is not None and sweep.scheduler.kind != "none"
    place = base.place("sweep", "metric")
    problems = []
    if not metrics:
        message = "a search wants `sweep.metric`, and no trial reports valid/loss"
        problems.append(Problem(message, did_you_mean("valid/loss", known), place, "sweep.metric"))
    for name in metrics:
        if name.startswith("test/"):
            message = f"{name} is measured on the test part, which a search must not look at"
            problems.append(Problem(message, "Search for the same of `valid/`.", place, "sweep.metric"))
        elif name not in known:
            hint = did_you_mean(name, known)
            problems.append(Problem(f"no trial reports {name}", hint, place, "sweep.metric"))
        elif compares and name == metrics[0] and name in final_metrics:
            message = f"{name} is measured at the end, and the scheduler compares trials on the way"
            others = " or ".join([f"valid/{name.partition('/')[2]}", *running_metrics])
            hint = f"Search for {others}, or leave out `scheduler`."
            problems.append(Problem(message, hint, place, "sweep.metric"))
    if problems:
        raise SpecError(*problems)
    return tuple(metrics)


def _rises(metric: str, base: Experiment) -> bool:
    """Whether a higher value of a metric is better."""
    name = metric.partition("/")[2]
    return metric not in PLAN_METRICS and early_stopping.mode_of(f"valid/{name}", objective_of(base)) == "max"


def _shared_spec(planner: Planner, space: Space) -> dict[str, Any]:
    """Return what all trials share: the spec at the middle of the space, so that its own values of varied keys do
    not count.
    """
    try:
        at = planner.experiment(space.normalized({}))
    except SpecError:
        at = planner.base
    shared = {key: value for key, value in at.written.plain().items() if key not in IGNORED_SECTIONS}
    return shared | ({"plugins": [one.digest for one in at.plugins]} if at.plugins else {})


def _dumped(chosen: Strict) -> dict[str, Any]:
    return {str(getattr(chosen, "kind", "")): chosen.model_dump(mode="json")}


def check_metric(made: SweepPlan, held_out: int) -> None:
    """Raise DlxError where a metric is measured on the validation part, and there is none."""
    if held_out or not any(name.startswith("valid/") for name in made.metrics):
        return
    name = next(name for name in made.metrics if name.startswith("valid/"))
    hint = "`valid: 0.1` under `data` holds some out."
    raise DlxError(f"no trial reports {name}: the data has no `valid` part", hint=hint)
