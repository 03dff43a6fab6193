"""Every whole number of every section and kind: what a user may write is bounded, or costs time and no memory."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
import torch
from annotated_types import Le, Lt
from helpers import experiment_of
from pydantic import ValidationError
from pydantic.fields import FieldInfo

import dlx.spec.sections
from dlx.analysis.analyze import analyze
from dlx.analysis.subject import of_spec
from dlx.errors import DlxError
from dlx.registry import FAMILIES, Declared, Strict

STREAMS = {
    "Train.steps": "updates that are taken one after the other",
    "Train.epochs": "as steps",
    "Train.batch_size": "examples of a batch, which has no more than the training set",
    "Train.accumulate": "as batch_size",
    "Train.evaluate_every": "steps that pass; one beyond the end is the end",
    "Train.save_every": "as evaluate_every",
    "Train.log_every": "as evaluate_every",
    "BatchSchedule.milestones": "a step of the training",
    "BatchSchedule.max_size": "as batch_size",
    "Follow.every": "steps that pass",
    "Until.step": "a step of the training",
    "Until.epoch": "an epoch of the training",
    "Sweep.trials": "trainings, told one by one; a grid has 100,000 points at most",
    "Sweep.until_alike": "trials that pass",
}
"""Fields without a bound, and why: they count what comes one after the other, or is cut to the data."""
OWN_TESTS = {"layer", "init", "optimizer", "schedule", "loss", "augmentation", "data"}
"""Families whose numbers are walked at their edges, by test_extreme_numbers.py and data/test_size_bounds.py."""
COUNTS_OF_TIME = {
    "steps", "max_iter", "iterations", "updates", "patience", "critic_steps", "discriminator_steps", "every",
    "startup", "sampling_steps", "sweeps", "repeats", "reduction_factor", "shuffles",
}  # fmt: skip
"""Options that count what comes one after the other, by the name that kinds share."""
CUT_TO_THE_DATA = {
    "examples", "shown", "queries", "among", "tokens", "units", "per_digit", "batch_sizes", "n_neighbors",
    "neighbours", "k", "classes", "content", "style", "hole", "window", "stride", "jitter", "shifts", "sizes", "lags",
    "most", "max_depth", "min_samples_leaf", "max_features", "period", "blank", "space", "levels", "method",
    "weighting", "order", "components", "features", "shortest", "longest", "depths", "params", "n",
}  # fmt: skip
"""Options of which no more counts than the data, the network or the file has, or that name parts of it."""
BOUNDED_BY_ALL_ANALYSES = {"seeds", "networks"}
"""`dlx.spec.analyses.Analysis` bounds them."""


def whole(info: FieldInfo) -> bool:
    words = str(info.annotation)
    return "int" in words.replace("Point", "").replace("print", "")


def bounded(info: FieldInfo) -> bool:
    return any(isinstance(one, Le | Lt) for one in info.metadata) or "Le(" in f"{info.annotation}{info.metadata}"


def sections() -> list[type[Strict]]:
    for module in pkgutil.iter_modules(dlx.spec.sections.__path__):
        importlib.import_module(f"dlx.spec.sections.{module.name}")
    found: list[type[Strict]] = []
    left: list[type[Any]] = [Strict]
    while left:
        for cls in left.pop().__subclasses__():
            if issubclass(cls, Declared):
                continue
            left.append(cls)
            if cls.__module__.startswith("dlx.spec.sections."):
                found.append(cls)
    return found


def test_every_number_of_a_section_is_bounded_or_is_known_to_stream():
    free = {
        f"{cls.__name__}.{name}"
        for cls in sections()
        for name, info in cls.model_fields.items()
        if whole(info) and not bounded(info) and "seed" not in name
    }
    assert free == set(STREAMS)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - OWN_TESTS))
def test_every_number_of_a_kind_is_bounded_or_known_to_count_time_or_to_be_cut(family):
    registry = FAMILIES[family]
    free = {
        f"{kind}.{name}"
        for kind in registry
        if registry[kind].__module__.startswith("dlx.")
        for name, info in registry[kind].model_fields.items()
        if whole(info) and not bounded(info) and name not in {"seed", "folds", "fold"}
    }
    known = COUNTS_OF_TIME | CUT_TO_THE_DATA | BOUNDED_BY_ALL_ANALYSES
    assert not {one for one in free if one.partition(".")[2] not in known}


def test_an_analysis_draws_or_trains_no_more_networks_than_one_command_does():
    units, variance = FAMILIES["analysis"]["units"], FAMILIES["analysis"]["bias_variance"]
    assert units(seeds=10_000)
    with pytest.raises(ValidationError, match="10,001 networks are more than 10,000, the most of one analysis"):
        units(seeds=10_001)
    with pytest.raises(ValidationError, match="the most of one analysis"):
        variance(networks=10**9, **{n: "train.seed" for n, i in variance.model_fields.items() if i.is_required()})


def test_memory_that_an_analysis_has_not_is_told_with_the_sizes_that_ask_for_it(monkeypatch):
    kind = FAMILIES["analysis"]["activation_scale"]
    subject = of_spec(experiment_of("name: small\nnetwork: {inputs: [4], layers: [{linear: 4}, relu, {linear: 1}]}"))

    def asks(*_):
        torch.empty(10**17)

    monkeypatch.setattr(kind, "run", asks)
    with pytest.raises(DlxError) as error:
        analyze(kind(examples=10**15, seeds=7), subject)
    problem = error.value.problems[0]
    assert problem.message == "`activation_scale` wants more memory than there is"
    assert problem.hint == "Make it smaller: `examples` is 1,000,000,000,000,000, `seeds` is 7."
