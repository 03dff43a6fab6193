"""The data by itself: what it holds, and whether its parts are apart."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...data import Split
from ...lazy import np
from .check import Outcome, Verdict, check, left_out
from .probe import Patient, flat

if TYPE_CHECKING:
    import numpy.typing as npt

MUCH = 0.01
"""Part of a held-out set that may have been trained on by chance."""
COUNTABLE = 20
"""Rows below which values rise from one to the next by chance."""
APART = 1000
"""How many times as large one input may be as another."""
LISTED = 10
"""Classes whose weights are written out."""
UNEVEN = 10
"""How many times as large the largest class may be as the smallest."""


@check("inputs")
def inputs(patient: Patient) -> Outcome:
    """Numbers of the order of 1, all of them finite."""
    x, place = patient.sets.train.x, patient.place("data")
    expected = "finite, of the order of 1"
    if x.dtype.kind in "iub":
        return Outcome("ok", f"whole numbers, {x.min()} to {x.max()}", "numbers to look up")
    if bad := int((~np.isfinite(flat(x)).all(1)).sum()):
        told = f"values that are nan or infinite stand in {bad:,} of {len(x):,} training examples"
        return Outcome("wrong", f"{bad:,} not finite", expected, told, "Leave them out, or fill them in.", place)
    mean, std = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64))
    figure = f"mean {mean:.3g}, std {std:.3g}"
    if not std:
        told = "all inputs are the same number: there is nothing to tell examples apart by"
        return Outcome("wrong", figure, expected, told, "Look at how the data is read.", place)
    if std > 30 or std < 1 / 300 or abs(mean) > 10 * std:
        told = (
            f"inputs have mean {mean:.3g} and standard deviation {std:.3g}, and initial weights are made for 0 and 1"
        )
        return Outcome("look", figure, expected, told, _brought(patient, x.ndim), place)
    if x.ndim == 2 and (apart := _columns_apart(x)):
        return Outcome("look", figure, expected, apart, _brought(patient, x.ndim), place)
    return Outcome("ok", figure, expected)


def _columns_apart(x: npt.NDArray[Any]) -> str:
    """That the values of one input are far larger than those of another; empty where they are not."""
    spreads = x.std(0, dtype=np.float64)
    moving = spreads[spreads > 0]
    if moving.max() <= APART * moving.min():
        return ""
    most, least = int(spreads.argmax()), int(np.where(spreads > 0, spreads, np.inf).argmin())
    return (
        f"input {most + 1} has standard deviation {spreads[most]:.3g}, and input {least + 1} "
        f"has {spreads[least]:.3g}: the large one rules what is learned"
    )


def _brought(patient: Patient, axes: int) -> str:
    """How inputs come to mean 0 and standard deviation 1."""
    if patient.has_field("standardize"):
        return f"Bring them there: `standardize: {'feature' if axes == 2 else 'all'}` under the data."
    return "Bring them there: a `batch_norm` as the first layer."


@check("targets")
def targets(patient: Patient) -> Outcome:
    """Classes that are there, or numbers that differ."""
    if (classes := patient.facts.classes) is not None:
        return _classes(patient, classes)
    y, place = patient.sets.train.y, patient.place("data")
    if y.dtype.kind != "f":
        return left_out("no classes and no numbers")
    if bad := int((~np.isfinite(flat(y)).all(1)).sum()):
        told = f"targets that are nan or infinite stand in {bad:,} of {len(y):,} training examples"
        hint = "Leave them out, or fill them in."
        return Outcome("wrong", f"{bad:,} not finite", "finite, of the order of 1", told, hint, place)
    mean, std = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
    figure, expected = f"mean {mean:.3g}, std {std:.3g}", "finite, of the order of 1"
    if not std:
        told = f"all targets are {mean:.3g}: there is nothing to learn"
        return Outcome("wrong", figure, expected, told, "Look at how the data is read.", place)
    factor = _factor(patient)
    if not 1 / 300 <= std / factor <= 30:
        message = (
            f"targets have standard deviation {std:.3g}, and the network starts with answers of about {factor:.3g}"
        )
        size = float(f"{std:.2g}")
        hint = f"Divide them by {size:g} in the data, or end the network with `- scale: {size:g}`"
        return Outcome("look", figure, expected, message, f"{hint}; no field of the spec scales targets.", place)
    return Outcome("ok", figure, expected)


def _factor(patient: Patient) -> float:
    """The factor of a `scale` at the end of the network; 1 without one."""
    last = patient.last
    return abs(float(getattr(last.layer, "factor", 1.0))) or 1.0 if last is not None and last.kind == "scale" else 1.0


def _classes(patient: Patient, classes: int) -> Outcome:
    place, expected = patient.place("data"), f"0 to {classes - 1}, all of them"
    parts = {"train": patient.sets.train, "valid": patient.sets.valid, "test": patient.sets.test}
    for name, part in parts.items():
        if part is not None and (strange := sorted(set(_labels(patient, part)) - set(range(classes)))):
            told = f"class {strange[0]} stands in {name}, and there are {classes} classes, from 0 on"
            return Outcome("wrong", f"class {strange[0]}", expected, told, "Look at how labels are read.", place)
    there = _labels(patient, patient.sets.train)
    if missing := [each for each in range(classes) if each not in there]:
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        told = f"no training example is of class {shown}: {len(there)} of {classes} classes can be learned"
        hint = f"Look for them, or {_by_class(patient)}."
        return Outcome("look", f"{len(there)} of {classes} classes", expected, told, hint, place)
    return Outcome("ok", "1 class" if classes == 1 else f"{classes:,} classes", expected)


def _labels(patient: Patient, part: Split) -> Counter[int]:
    """How many targets there are of each class, without those that do not count."""
    found, counts = np.unique(part.y, return_counts=True)
    ignored = patient.objective.loss.ignores()
    return Counter({int(c): int(n) for c, n in zip(found, counts, strict=True) if c != ignored})


@check("class balance")
def balance(patient: Patient) -> Outcome:
    """Each class as often in the test as in training, and no class that drowns the others."""
    classes, place = patient.facts.classes, patient.place("data")
    if classes is None:
        return left_out("no classes")
    train = _labels(patient, patient.sets.train)
    most, least = max(train.values()), min(train.values())
    figure = f"{least / train.total():.1%} to {most / train.total():.1%} of train"
    expected = "alike, and alike in train and test"
    told, hint = _drift(patient, train)
    if told:
        return Outcome("look", figure, expected, told, hint, place)
    if most > UNEVEN * least:
        (large, _), (small, _) = train.most_common(1)[0], train.most_common()[-1]
        told = f"class {large} has {most:,} training examples and class {small} has {least:,}"
        hint = f"An accuracy of {most / train.total():.1%} is had by always saying {large}: "
        hint += f"{_weighed(patient, train)}."
        return Outcome("look", figure, expected, told, hint, place)
    return Outcome("ok", figure, expected)


def _drift(patient: Patient, train: Counter[int]) -> tuple[str, str]:
    """What is odd about the classes of the held-out parts."""
    for name, part in _held_out(patient):
        found, n = _labels(patient, part), len(part)
        for each, count in sorted(train.items()):
            share, there = count / train.total(), found[each] / max(found.total(), 1)
            # four standard deviations of a draw of n
            if abs(there - share) > max(4 * (share * (1 - share) / n) ** 0.5, 0.02):
                told = f"class {each} is {share:.1%} of train and {there:.1%} of {name}"
                return told, f"{_by_class(patient).capitalize()}."
    return "", ""


def _by_class(patient: Patient) -> str:
    """How each part gets its share of the classes."""
    how = ": `stratify: true` under the data" if patient.has_field("stratify") else ""
    return f"draw parts from one pool, by class{how}"


def _weighed(patient: Patient, train: Counter[int]) -> str:
    """How rare classes come to count as much as the others do."""
    kind, classes = patient.objective.loss.kind, patient.facts.classes or 0
    if kind == "binary_cross_entropy" and train[0] and train[1]:
        return f"weigh the classes: `loss: {{binary_cross_entropy: {{pos_weight: {train[0] / train[1]:.2g}}}}}`"
    if kind not in ("cross_entropy", "focal") or classes > LISTED:
        return "look at the errors of each class, or find more of the small ones"
    each = [f"{train.total() / (classes * train[k]):.2g}" if train[k] else "1" for k in range(classes)]
    return f"weigh the classes: `loss: {{{kind}: {{weight: [{', '.join(each)}]}}}}` under the objective"


@check("duplicates")
def duplicates(patient: Patient) -> Outcome:
    """Training examples that are there several times."""
    train = patient.sets.train
    kept: dict[bytes, int] = {}
    copies = at_odds = 0
    for row, key in enumerate(fingerprints(train.x)):
        first = kept.setdefault(key, row)
        copies += first != row
        at_odds += first != row and not np.array_equal(train.y[first], train.y[row])
    expected = "no example twice"
    if not copies:
        return Outcome("ok", "none", expected)
    told = f"{copies:,} of {len(train):,} training examples are copies of others"
    told += f", {at_odds:,} of them with another target" if at_odds else ""
    often = at_odds or copies > MUCH * len(train)
    hint = "Keep one of each." if not at_odds else "Keep one of each, with the right target."
    figure = f"{copies:,} of {len(train):,}"
    return Outcome("look", figure, expected, told, hint, patient.place("data")) if often else Outcome("ok", figure)


@check("leakage")
def leakage(patient: Patient) -> Outcome:
    """Held-out examples that are training examples too."""
    held = list(_held_out(patient))
    if not held:
        return left_out("no valid or test part")
    known = set(fingerprints(patient.sets.train.x))
    found = [(name, sum(key in known for key in fingerprints(part.x)), len(part)) for name, part in held]
    figure = ", ".join(f"{count:,} of {n:,} in {name}" for name, count, n in found)
    expected = "no held-out example in train"
    told = "; ".join(
        f"{count:,} of {n:,} examples in {name} are training examples too" for name, count, n in found if count
    )
    if not told:
        return Outcome("ok", figure, expected)
    much = any(count > MUCH * n for _, count, n in found)
    hint = "What is measured there is memory: take out of one part what is in the other."
    return Outcome("wrong" if much else "look", figure, expected, told, hint, patient.place("data"))


@check("row order")
def row_order(patient: Patient) -> Outcome:
    """No input that counts the rows of the file."""
    train = patient.sets.train
    if train.rows is None or train.x.ndim != 2 or len(train) < COUNTABLE:
        return left_out("no rows of a file")
    order = np.argsort(train.rows)
    steps = np.diff(train.x[order], axis=0)
    counting = np.flatnonzero((steps > 0).all(0) | (steps < 0).all(0))
    expected = "no input that counts the rows"
    if not len(counting):
        return Outcome("ok", "none", expected)
    names = [name for use in patient.facts.columns for name in [use.name] * use.inputs]
    found = [f"`{names[i]}`" if len(names) == train.x.shape[1] else f"number {i}" for i in counting]
    message = f"the input {found[0]} {'rises' if steps[0, counting[0]] > 0 else 'falls'} from row to row of the file"
    hint = "Leave it out where it is only the number of a row; where it is a time, cut the parts with `split: order`."
    figure, place = f"{len(found):,} of {train.x.shape[1]:,} inputs", patient.place("data")
    if train.y.ndim == 1 and (np.diff(train.y[order]) != 0).sum() + 1 == len(np.unique(train.y)) > 1:
        message += ", and the rows are sorted by class: its order alone tells the classes apart"
        hint = "Leave it out where it is only the number of a row."
        verdict: Verdict = "wrong" if train.x.shape[1] > 1 else "look"
        return Outcome(verdict, figure, expected, message, hint, place)
    return Outcome("look", figure, expected, message, hint, place)


def _held_out(patient: Patient) -> Iterable[tuple[str, Split]]:
    parts = {"valid": patient.sets.valid, "test": patient.sets.test}
    return ((name, part) for name, part in parts.items() if part is not None and len(part))


def fingerprints(x: npt.NDArray[Any]) -> Iterable[bytes]:
    """Something short for each example that equal ones have in common."""
    return (hashlib.blake2b(row, digest_size=16).digest() for row in flat(x))
