"""`dlx doctor`: checks of a spec before it is trained.

A check is a function in one of the `checks_` files, under `@check(name)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...data.base import Sets, Split
from ...errors import Problem, SpecError
from ...experiment.stages import ready_stages
from ...lazy import torch
from ...spec import Experiment, supervised_of
from ...spec.one_stage import stage_of
from ...training import device
from ...training.prepared import prepare
from . import checks_data, checks_gradient, checks_layers, checks_start, checks_training
from .check import CHECKS, Check, CheckRow, not_run
from .probe import Probe

FILES = (checks_data, checks_start, checks_layers, checks_gradient, checks_training)
FAMILIES = [file.__name__ for file in FILES]
"""The modules of checks, in the order of the report."""
EXAMINED_BYTES = 2**28
"""Largest size of each part of a streamed data set that is examined."""
DATA = ("inputs", "targets")
"""Checks of the data that must not be wrong for the network to be checked on it."""


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks, one row each."""

    name: str
    path: str
    checks: tuple[CheckRow, ...]

    @property
    def wrong(self) -> bool:
        return any(one.outcome.verdict == "wrong" for one in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {"checks": [one.as_json() for one in self.checks]}


def examine(experiment: Experiment, thorough: bool = False, stage: str | None = None) -> Report:
    """Run all checks on a spec, or on one stage of it with weights as `init` draws them; no file is written.

    Errors: SpecError or DlxError where the spec cannot be trained at all, or stages have no name to go by.
    """
    experiment = examined(experiment, stage)
    probe = probe_of(experiment, thorough)
    devices = [probe.device] if probe.device.type == "cuda" else []
    threads = device.threads_for(probe.train, probe.graph, len(probe.sets.train))
    with device.threads(threads), torch.random.fork_rng(devices):
        return Report(experiment.name, str(experiment.path), tuple(_rows(probe)))


def examined(experiment: Experiment, stage: str | None) -> Experiment:
    """Return the spec that is examined: a stage by itself where one is named. SpecError with the mistakes of all."""
    if stage is None:
        return experiment
    one = stage_of(experiment, stage)
    ready_stages(experiment)
    return one


def probe_of(experiment: Experiment, thorough: bool = False) -> Probe:
    """Prepare a spec, with its graph and data, for the checks."""
    if experiment.stages:
        ready_stages(experiment)
        message = "`dlx doctor` examines one training, and the spec has `stages`"
        hint = f"Name the one that is in doubt: `--stage {experiment.stages[0].name}`."
        raise SpecError(Problem(message, hint, experiment.written.map["stages"].mark, "stages"))
    objective = supervised_of(experiment)
    if objective.measures == "heads":
        head = objective.heads([""])[0]
        message = "`dlx doctor` examines one objective, and the spec has heads"
        one = f"'objective={{{head.objective.kind}: {{field: {head.name}}}}}' network.outputs={head.name}"
        hint = f"Examine one at a time: `dlx doctor {experiment.path.name} {one}`."
        raise SpecError(Problem(message, hint, experiment.place("objective"), "objective"))
    made = prepare(experiment)
    plain = made.train.model_copy(update={"augment": [], "test_time": None})
    sets, facts, objective = made.sets.in_memory(EXAMINED_BYTES), made.data.facts(), made.supervised
    if objective.field is not None:
        sets, facts = _with_target(sets, objective.field), facts.of_target(objective.field)
        objective = objective.model_copy(update={"field": None})
    return Probe(experiment, made.graph, sets, plain, objective, facts, made.device, thorough)


def _with_target(sets: Sets, name: str) -> Sets:
    """Return a data set of several targets with one of them alone."""
    fields = {key: one for key, one in sets.fields.items() if one.role != "target" or key == name}

    def of(part: Split) -> Split:
        more = {key: values for key, values in part.more.items() if key in fields and key != name}
        return replace(part, y=sets.values(part, name), more=more)

    held = (part and of(part) for part in (sets.valid, sets.test))
    valid, test = held
    return replace(sets, train=of(sets.train), valid=valid, test=test, fields=fields)


def _rows(probe: Probe) -> list[CheckRow]:
    rows: list[CheckRow] = []
    for name, function in sorted(CHECKS.items(), key=_place):
        # A network fed with NaN or missing classes fails every check: only the cause is worth a row
        data_is_wrong = any(row.check in DATA and row.outcome.verdict == "wrong" for row in rows)
        about_data = function.__module__ == FAMILIES[0]
        rows.append(
            CheckRow(name, function(probe) if about_data or not data_is_wrong else not_run("the data comes first"))
        )
    return rows


def _place(named: tuple[str, Check]) -> int:
    """Return the position of a check in the report: by its module; checks of other packages come last."""
    module = named[1].__module__
    return FAMILIES.index(module) if module in FAMILIES else len(FAMILIES)
