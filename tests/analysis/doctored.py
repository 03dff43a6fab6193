"""Specs on the doctor's table."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent, indent
from typing import Any

import torch
from helpers import experiment_of

from dlx.analysis.doctor.check import CHECKS, CheckOutcome
from dlx.analysis.doctor.diagnosis import probe_of
from dlx.analysis.doctor.probe import Probe
from dlx.data import Facts, Sets, Split
from dlx.data.generated.synthetic import Synthetic
from dlx.shapes import Shape

CLASSES = "{synthetic: {shape: [6], classes: 3, train: 200, valid: 50, test: 50}}"
NUMBERS = "{synthetic: {shape: [6], target: [1], train: 200, valid: 50, test: 50}}"
LAYERS = "[{linear: 32}, relu, {linear: 3}]"
TRAIN = "{steps: 300, optimizer: {adam: 1e-2}}"


def make_probe(
    layers: str = LAYERS, data: Any = CLASSES, train: str = TRAIN, more: str = "", **options: Any
) -> Probe:
    """A spec ready for the checks: `data` in YAML, or Sets. `layers` stand on line 4 of it, or from line 5 on."""
    written = data if isinstance(data, str) else CLASSES
    text = f"name: sick\ntrain: {train}\nnetwork:\n  layers:"
    listed = dedent(layers).strip("\n")
    text += f" {listed}\n" if listed.startswith("[") else f"\n{indent(listed, '    ')}\n"
    experiment = experiment_of(f"{text}data: {written}\n{more}\n")
    if not isinstance(data, str):
        experiment = replace(experiment, data=FixedData(data))
    return probe_of(experiment, **options)


def outcome(check: str, *args: Any, **options: Any) -> CheckOutcome:
    """Return the outcome of one check of a spec."""
    with torch.random.fork_rng():
        return CHECKS[check](make_probe(*args, **options))


class FixedData(Synthetic):
    """A data set that is there already; it has no kind of its own, so that no registry knows it."""

    __module__ = Synthetic.__module__  # it stands for a source of dlx, whose arrays are not held against its facts

    def __init__(self, sets: Sets) -> None:
        super().__init__(shape=[1])
        object.__setattr__(self, "_sets", sets)

    def facts(self) -> Facts:
        sets: Sets = self._sets
        shape = Shape(sets.train.x.shape[1:])
        if sets.train.y.dtype.kind == "f":
            return Facts(shape, target=Shape(sets.train.y.shape[1:]))
        return Facts(shape, classes=3)

    def load(self) -> Sets:
        return self._sets


def sets(**changes: Any) -> Sets:
    """The classes of `CLASSES` with other parts: `train=(x, y)`."""
    made = Synthetic(shape=[6], classes=3, train=200, valid=50, test=50).load()
    parts = {name: Split(*pair) if pair is not None else None for name, pair in changes.items()}
    return replace(made, **parts)


ONE_KINK = (
    "\n- linear: {out_features: 1, bias: false}\n  values: {weight: 0}\n- relu\n",
    "{synthetic: {shape: [1], target: [1], train: 200}}",
)
"""A weight of 0 before a ReLU: the loss bends there."""
