"""What a sweep is to do, as its spec and overrides say: what varies, who picks, what is searched for, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DlxError, Problem, SpecError, did_you_mean
from ..metrics import RUNNING_LOSS
from ..registry import Strict
from ..spec import Experiment, load, missing_sections, objective_of
from ..spec.overrides import parse
from ..spec.plugged import split
from ..spec.sections.sweep import Sweep
from ..spec.sections.sweep_values import MOST, Dimension
from ..spec.strategies import SAMPLERS, SCHEDULERS, Sampler, Scheduler
from ..training import early_stopping
from .feasible import Constraints, Planner
from .leaderboard import ENOUGH
from .seed_averages import is_replicate, replicate_keys_of
from .space import Space
from .study import folder_of

TRIALS = 64
"""Points that are tried where nobody says how many and the space has no end."""
OF_THE_PLAN = ("params", "macs")
"""What is known of a network without training, and may be searched for beside a metric."""
BLIND = ("grid", "random", "quasi_random")
"""Samplers that do not look at what came out."""
UNTOLD = ("sweep", "expect", "track", "source", "dlx", "name")
"""Sections that change nothing of what a trial comes to."""


@dataclass(frozen=True)
class SweepPlan:
    """All that decides what a study will come to, and where it lies."""

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
        """What makes it this study. How many trials, who trains them and for how long is no part of it."""
        return {
            "spec": _fixed(self.planner, self.space),
            "space": self.space.as_json(),
            "constraints": self.sweep.texts,
            "sampler": _told(self.sampler),
            "scheduler": _told(self.scheduler),
            "metrics": list(self.metrics),
            "rising": list(self.rising),
            "seeds": self.seeds,
            "seed": self.sweep.seed,
            "generation": self.sweep.generation,
        }

    def experiments(self, first: Experiment) -> dict[int, Experiment]:
        """By seed, a trial's experiments, of which this is the first."""
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
    """What `dlx sweep` is asked to do. SpecError with what stands against it.

    `trials` is how many there are to be, `study` what its folder is called, if not by the hash of what it is.
    """
    own = [text for text in split(changes)[0] if not parse(text).is_sweep_override()]
    changes = [text for text in changes if text not in own]
    loaded = spec.changed(own) if isinstance(spec, Experiment) else load(spec, own, plugins=plugins)
    space, plain = Space.of(loaded, changes)
    base = loaded.changed(plain)
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
    if sweep.until_alike is not None and seeds < ENOUGH:
        message = f"`until_alike` takes {ENOUGH} seeds of each point to know chance, and there {_are(seeds)}"
        hint = f"Write `seeds: {ENOUGH}` beside it."
        raise SpecError(Problem(message, hint, base.place("sweep", "until_alike"), "sweep.until_alike"))
    bare = [f"++train.seed={base.train.seed}", "++train.seeds=1", *(["~expect"] if base.root.at("expect") else [])]
    _check_drawn(base, space, sampler, sweep, seeds)
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
        trials=wanted or (space.size if listed and space.size is not None else TRIALS),
        runs=runs,
        folder=runs / base.name / study,
    )
    return made if study else replace(made, folder=folder_of(runs, base.name, made.identity))


def _longest(space: Space) -> Dimension:
    """The dimension with the most values."""
    return max(space.dimensions, key=lambda dimension: dimension.size or 0)


def _check_drawn(base: Experiment, space: Space, sampler: Sampler, sweep: Sweep, seeds: int) -> None:
    """SpecError where one fold or seed would be preferred to another."""
    keys = " and ".join(f"`{one.key}`" for one in space.dimensions if is_replicate(one.key))
    problems = []
    for one in space.dimensions:
        section, _, variable = one.key.partition(".")
        if section == "vars" and (there := replicate_keys_of(variable, base.root.plain())):
            message = f"`{one.key}` is given to `{there[0]}` alone, and its best value would be chosen"
            problems.append(Problem(message, f"Vary `{there[0]}` itself: it is averaged over.", one.mark, one.key))
        if one.key == "train.seed" and seeds > 1:
            message = f"`train.seed` varies, and `seeds` asks for {seeds:,} of each point: both say which seeds"
            problems.append(Problem(message, "Give one of the two.", one.mark, one.key))
    if keys and sampler.kind not in BLIND:
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
    """What is searched for. SpecError where no trial would report it."""
    modes = objective_of(base).modes()
    given = [sweep.metric] if isinstance(sweep.metric, str) else sweep.metric or []
    if not given and ("error" in modes or "loss" in modes):
        return ("valid/error" if "error" in modes else "valid/loss",)
    at_the_end = [f"train/{name}" for name in modes]
    on_the_way = (
        [RUNNING_LOSS] if "loss" in modes else []
    )  # phases have terms of their own on the way, and no one loss
    known = [*(f"valid/{name}" for name in modes), *at_the_end, *on_the_way, *OF_THE_PLAN]
    compares = sweep.scheduler is not None and sweep.scheduler.kind != "none"
    place = base.place("sweep", "metric")
    problems = []
    if not given:
        message = "a search wants `sweep.metric`, and no trial reports valid/loss"
        problems.append(Problem(message, did_you_mean("valid/loss", known), place, "sweep.metric"))
    for name in given:
        if name.startswith("test/"):
            message = f"{name} is measured on the test part, which a search must not look at"
            problems.append(Problem(message, "Search for the same of `valid/`.", place, "sweep.metric"))
        elif name not in known:
            hint = did_you_mean(name, known)
            problems.append(Problem(f"no trial reports {name}", hint, place, "sweep.metric"))
        elif compares and name == given[0] and name in at_the_end:
            message = f"{name} is measured at the end, and the scheduler compares trials on the way"
            others = " or ".join([f"valid/{name.partition('/')[2]}", *on_the_way])
            hint = f"Search for {others}, or leave out `scheduler`."
            problems.append(Problem(message, hint, place, "sweep.metric"))
    if problems:
        raise SpecError(*problems)
    return tuple(given)


def _rises(metric: str, base: Experiment) -> bool:
    """Whether more of it is better."""
    name = metric.partition("/")[2]
    return metric not in OF_THE_PLAN and early_stopping.mode_of(f"valid/{name}", objective_of(base)) == "max"


def _fixed(planner: Planner, space: Space) -> dict[str, Any]:
    """What is the same for all trials: the spec at the middle of the space, whatever it has there itself."""
    try:
        at = planner.experiment(space.whole({}))
    except SpecError:
        at = planner.base
    told = {key: value for key, value in at.root.plain().items() if key not in UNTOLD}
    return told | ({"plugins": [one.digest for one in at.plugins]} if at.plugins else {})


def _told(chosen: Strict) -> dict[str, Any]:
    return {str(getattr(chosen, "kind", "")): chosen.model_dump(mode="json")}


def check_metric(made: SweepPlan, held_out: int) -> None:
    """DlxError where the metrics want examples held out, and there are none."""
    if held_out or not any(name.startswith("valid/") for name in made.metrics):
        return
    name = next(name for name in made.metrics if name.startswith("valid/"))
    hint = "`valid: 0.1` under `data` holds some out."
    raise DlxError(f"no trial reports {name}: the data has no `valid` part", hint=hint)
