"""Folds of the data of a spec: the changes that hold one out, and the figures of a metric over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from ..data import DATASETS
from ..errors import DlxError, Problem, SpecError
from ..spec import Experiment
from ..training.prepared import loaded
from ..utils import option_bounds
from ..utils.intervals import half_interval, mean_of

Folds = int | Literal["leave_one_out"]
DEFAULT_FOLDS = 5
"""Folds where neither the command nor the spec gives their number: Hastie, Tibshirani & Friedman 2009, section
7.10.1, recommend five or ten."""


@dataclass(frozen=True)
class FoldMetric:
    """A metric over folds: its value in each, a mean where a fold has several seeds."""

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean_of(self.values)

    @property
    def standard_error(self) -> float | None:
        """Return the sample standard deviation over the root of the folds; None for one fold or infinite values."""
        n = len(self.values)
        return statistics.stdev(self.values) / n**0.5 if n > 1 and all(map(isfinite, self.values)) else None

    @property
    def interval95(self) -> float | None:
        return half_interval(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return the figures; the values in the order of the folds that have finished."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "interval95": self.interval95,
            "folds": list(self.values),
        }


def fold_changes(experiment: Experiment, folds: Folds | None) -> tuple[list[str], list[str]]:
    """Return the overrides that make a spec hold out its first fold, and the parts that they take out, in words.

    SpecError where its data has no folds.
    """
    node = experiment.root.at("data")
    kind = experiment.data.kind if experiment.data is not None else _kind_of(node)
    if kind is None:
        raise SpecError(*experiment.problems) if experiment.problems else SpecError(_no_data(experiment))
    if kind in DATASETS and "folds" not in DATASETS[kind].model_fields:
        message = f"`{kind}` has parts of its own, and no examples to share out among folds"
        hint = "Data with one pool of examples has `folds`: table, images, arrays, digits, cifar10, ..."
        raise SpecError(Problem(message, hint, experiment.place("data"), "data"))
    written = _fields(node, kind)
    changes = [text for name in ("train", "valid") if name in written for text in [f"~data.{kind}.{name}"]]
    count = folds or written.get("folds") or DEFAULT_FOLDS
    dropped = [f"`{name}` {written[name]}" for name in ("train", "valid") if written.get(name) is not None]
    return [*changes, f"++data.{kind}.folds={count}", f"++data.{kind}.fold=1"], dropped


def count_of(experiment: Experiment) -> int:
    """Return the number of folds of a spec that holds one out; leaving one out, its data is loaded for it."""
    data: Any = experiment.data
    if data.folds != "leave_one_out":
        return int(data.folds)
    sets = loaded(experiment)
    assert sets.valid is not None
    return len(sets.train) + len(sets.valid)


def note_of(dropped: Sequence[str], count: int) -> str:
    """Return a note on the parts of a spec that its folds replace; empty where there are none."""
    gives = "gives" if len(dropped) == 1 else "give"
    return f"{' and '.join(dropped)} of the spec {gives} way to {count:,} folds" if dropped else ""


def _fields(node: Any, kind: str) -> dict[str, Any]:
    """Return what a spec writes about its data, as plain values by field."""
    inner = node.at(kind) if node is not None else None
    plain = inner.plain() if inner is not None else {}
    return plain if isinstance(plain, dict) else {}


def _kind_of(node: Any) -> str | None:
    """Return the kind of the data that is written, where its fields have mistakes."""
    plain = node.plain() if node is not None else None
    kind = next(iter(plain)) if isinstance(plain, dict) and len(plain) == 1 else plain
    return kind if isinstance(kind, str) and kind in DATASETS else None


def _no_data(experiment: Experiment) -> Problem:
    hint = "Add a section `data`, such as `data: digits`."
    return Problem("there is no data to share out among folds", hint, experiment.place(), "data")


def parse_folds(text: str | None) -> Folds | None:
    """Parse `--folds`. DlxError where it is neither a number from 2 on nor `leave_one_out`."""
    if text is None:
        return None
    if text == "leave_one_out":
        return "leave_one_out"
    if (count := option_bounds.whole(text)) is not None and count >= 2:
        option_bounds.check("--folds", count, option_bounds.FOLDS)
        return count
    hint = "`--folds 5` holds out a fifth each time."
    raise DlxError(f"--folds takes a number from 2 on, or leave_one_out, not {text}", hint=hint)
