"""`dlx doctor`: what is wrong with a spec, before it is trained.

A check is a function in one of the `checks_` files, under `@check(name)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...lazy import torch
from ...spec import Experiment, supervised_of
from ...training import device
from ...training.prepared import prepare
from . import checks_data, checks_gradient, checks_layers, checks_start, checks_training
from .check import CHECKS, Check, Checked, left_out
from .probe import Patient

FILES = (checks_data, checks_start, checks_layers, checks_gradient, checks_training)
FAMILIES = [file.__name__ for file in FILES]
"""The files of checks, in the order of the report."""
LOOKED_AT = 2**28
"""Bytes of each part that are looked at where a set streams."""
DATA = ("inputs", "targets")
"""What has to be right for a network to be tried on it."""


@dataclass(frozen=True)
class Report:
    """What the checks found, one row each."""

    name: str
    path: str
    checks: tuple[Checked, ...]

    @property
    def wrong(self) -> bool:
        return any(one.outcome.verdict == "wrong" for one in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {"checks": [one.as_json() for one in self.checks]}


def examine(experiment: Experiment, thorough: bool = False) -> Report:
    """Look a spec over. SpecError or DlxError where it cannot be trained at all. Nothing is written anywhere."""
    patient = received(experiment, thorough)
    devices = [patient.device] if patient.device.type == "cuda" else []
    threads = device.threads_for(patient.train, patient.graph, len(patient.sets.train))
    with device.threads(threads), torch.random.fork_rng(devices):
        return Report(experiment.name, str(experiment.path), tuple(_rows(patient)))


def received(experiment: Experiment, thorough: bool = False) -> Patient:
    """A spec with its graph and its data, ready to be looked at."""
    supervised_of(experiment)
    made = prepare(experiment)
    plain = made.train.model_copy(update={"augment": [], "test_time": None})
    sets, facts = made.sets.in_memory(LOOKED_AT), made.data.facts()
    return Patient(experiment, made.graph, sets, plain, made.supervised, facts, made.device, thorough)


def _rows(patient: Patient) -> list[Checked]:
    rows: list[Checked] = []
    for name, function in sorted(CHECKS.items(), key=_place):
        sick = any(row.check in DATA and row.outcome.verdict == "wrong" for row in rows)
        about_data = function.__module__ == FAMILIES[0]
        rows.append(Checked(name, function(patient) if about_data or not sick else left_out("the data comes first")))
    return rows


def _place(named: tuple[str, Check]) -> int:
    """Where a check stands in the report: after its family, and last where that is not one of ours."""
    home = named[1].__module__
    return FAMILIES.index(home) if home in FAMILIES else len(FAMILIES)
