"""Checks of the data: scale of inputs and targets, classes, duplicates, leakage between parts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ...data import Sets, Split
from ...lazy import np
from .check import CheckOutcome, Verdict, check, not_run
from .probe import Probe, flat

if TYPE_CHECKING:
    import numpy.typing as npt

MUCH = 0.01
"""Fraction of a held-out set that may be in the training set by accident."""
COUNTABLE = 20
"""Number of rows below which values may rise from row to row by accident."""
MAX_RATIO = 1000
"""Largest ratio of the standard deviations of two inputs."""
LISTED = 10
"""Largest number of classes whose weights are written into a hint."""
FEWEST = 5
"""Examples of a class below which a weight has a network learn them by heart."""
UNEVEN = 10
"""Largest ratio of the sizes of two classes."""


@check("inputs")
def inputs(probe: Probe) -> CheckOutcome:
    """Check that the inputs are finite and of the order of 1."""
    x, place = probe.sets.train.x, probe.place("data")
    expected = "finite, of the order of 1"
    if x.dtype.kind in "iub":
        return CheckOutcome("ok", f"whole numbers, {x.min()} to {x.max()}", "numbers to look up")
    if bad := int((~np.isfinite(flat(x)).all(1)).sum()):
        finding = f"values that are nan or infinite stand in {bad:,} of {len(x):,} training examples"
        return CheckOutcome(
            "wrong", f"{bad:,} not finite", expected, finding, "Leave them out, or fill them in.", place
        )
    mean, std = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64))
    figure = f"mean {mean:.3g}, std {std:.3g}"
    if not std:
        finding = "all inputs are the same number: there is nothing to tell examples apart by"
        return CheckOutcome("wrong", figure, expected, finding, "Look at how the data is read.", place)
    if std > 30 or std < 1 / 300 or abs(mean) > 10 * std:
        finding = (
            f"inputs have mean {mean:.3g} and standard deviation {std:.3g}, and initial weights are made for 0 and 1"
        )
        return CheckOutcome("look", figure, expected, finding, _standardize_hint(probe, x.ndim), place)
    if x.ndim == 2 and (apart := _explain_scales(x)):
        return CheckOutcome("look", figure, expected, apart, _standardize_hint(probe, x.ndim), place)
    return CheckOutcome("ok", figure, expected)


def _explain_scales(x: npt.NDArray[Any]) -> str:
    """Describe two inputs of very different scales; empty where there are none."""
    spreads = x.std(0, dtype=np.float64)
    moving = spreads[spreads > 0]
    if moving.max() <= MAX_RATIO * moving.min():
        return ""
    most, least = int(spreads.argmax()), int(np.where(spreads > 0, spreads, np.inf).argmin())
    return (
        f"input {most + 1} has standard deviation {spreads[most]:.3g}, and input {least + 1} "
        f"has {spreads[least]:.3g}: the large one rules what is learned"
    )


def _standardize_hint(probe: Probe, axes: int) -> str:
    """Return the hint how to standardize the inputs."""
    if probe.has_field("standardize"):
        return f"Bring them there: `standardize: {'feature' if axes == 2 else 'all'}` under the data."
    return "Bring them there: a `batch_norm` as the first layer."


@check("targets")
def targets(probe: Probe) -> CheckOutcome:
    """Check that all classes occur, or that targets are finite and differ."""
    if (classes := probe.facts.classes) is not None:
        return _classes(probe, classes)
    y, place = probe.sets.train.y, probe.place("data")
    if y.dtype.kind != "f":
        return not_run("no classes and no numbers")
    if bad := int((~np.isfinite(flat(y)).all(1)).sum()):
        finding = f"targets that are nan or infinite stand in {bad:,} of {len(y):,} training examples"
        hint = "Leave them out, or fill them in."
        return CheckOutcome("wrong", f"{bad:,} not finite", "finite, of the order of 1", finding, hint, place)
    mean, std = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
    figure, expected = f"mean {mean:.3g}, std {std:.3g}", "finite, of the order of 1"
    if not std:
        finding = f"all targets are {mean:.3g}: there is nothing to learn"
        return CheckOutcome("wrong", figure, expected, finding, "Look at how the data is read.", place)
    factor = _final_scale(probe)
    if factor != 1 and probe.last is not None:
        expected = f"finite, of the order of {factor:.3g}, the factor of {probe.last.name}"
    if not 1 / 300 <= std / factor <= 30:
        message = (
            f"targets have standard deviation {std:.3g}, and the network starts with answers of about {factor:.3g}"
        )
        size = float(f"{std:.2g}")
        hint = f"Divide them by {size:g} in the data, or end the network with `- scale: {size:g}`"
        return CheckOutcome("look", figure, expected, message, f"{hint}; no field of the spec scales targets.", place)
    return CheckOutcome("ok", figure, expected)


def _final_scale(probe: Probe) -> float:
    """Return the factor of a `scale` at the end of the network; 1 without one."""
    last = probe.last
    return abs(float(getattr(last.layer, "factor", 1.0))) or 1.0 if last is not None and last.kind == "scale" else 1.0


def _classes(probe: Probe, classes: int) -> CheckOutcome:
    place, expected = probe.place("data"), f"0 to {classes - 1}, all of them"
    parts = {"train": probe.sets.train, "valid": probe.sets.valid, "test": probe.sets.test}
    for name, part in parts.items():
        if part is not None and (strange := sorted(set(_labels(probe, part)) - set(range(classes)))):
            finding = f"class {strange[0]} stands in {name}, and there are {classes} classes, from 0 on"
            return CheckOutcome(
                "wrong", f"class {strange[0]}", expected, finding, "Look at how labels are read.", place
            )
    counts = _labels(probe, probe.sets.train)
    if missing := [each for each in range(classes) if each not in counts]:
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        finding = f"no training example is of class {shown}: {len(counts)} of {classes} classes can be learned"
        hint = f"Look for them, or {_stratify_hint(probe)}."
        return CheckOutcome("look", f"{len(counts)} of {classes} classes", expected, finding, hint, place)
    return CheckOutcome("ok", "1 class" if classes == 1 else f"{classes:,} classes", expected)


def _labels(probe: Probe, part: Split) -> Counter[int]:
    """Count the targets of each class, without those that the loss ignores."""
    found, counts = np.unique(part.y, return_counts=True)
    ignored = probe.objective.loss.ignores()
    return Counter({int(c): int(n) for c, n in zip(found, counts, strict=True) if c != ignored})


@check("class balance")
def balance(probe: Probe) -> CheckOutcome:
    """Check that classes are balanced, and equally frequent in all parts."""
    classes, place = probe.facts.classes, probe.place("data")
    if classes is None:
        return not_run("no classes")
    train = _labels(probe, probe.sets.train)
    most, least = max(train.values()), min(train.values())
    figure = f"{least / train.total():.1%} to {most / train.total():.1%} of train"
    expected = "alike, and alike in train and test"
    finding, hint = _class_shift(probe, train)
    if finding:
        return CheckOutcome("look", figure, expected, finding, hint, place)
    if most > UNEVEN * least:
        (large, _), (small, _) = train.most_common(1)[0], train.most_common()[-1]
        finding = f"class {_named(probe, large)} has {most:,} training examples and class {_named(probe, small)} has "
        finding += f"{least:,}"
        hint = f"An accuracy of {most / train.total():.1%} is had by always saying {_named(probe, large)}: "
        hint += f"{_class_weight_hint(probe, train)}."
        return CheckOutcome("look", figure, expected, finding, hint, place)
    return CheckOutcome("ok", figure, expected)


def _named(probe: Probe, number: int) -> str:
    """Return the number of a class, with its name where it has another one."""
    names = probe.sets.class_names
    return f"{number} (`{names[number]}`)" if number < len(names) and names[number] != str(number) else str(number)


def _class_shift(probe: Probe, train: Counter[int]) -> tuple[str, str]:
    """Return finding and hint where a class is more or less frequent in a held-out part; else empty texts."""
    for name, part in _held_out(probe):
        found, n = _labels(probe, part), len(part)
        for each, count in sorted(train.items()):
            share, held_out = count / train.total(), found[each] / max(found.total(), 1)
            # four standard deviations of a binomial sample of n
            if abs(held_out - share) > max(4 * (share * (1 - share) / n) ** 0.5, 0.02):
                finding = f"class {_named(probe, each)} is {share:.1%} of train and {held_out:.1%} of {name}"
                return finding, f"{_stratify_hint(probe).capitalize()}."
    return "", ""


def _stratify_hint(probe: Probe) -> str:
    """Return the hint how to split by class."""
    how = ": `stratify: true` under the data" if probe.has_field("stratify") else ""
    return f"draw parts from one pool, by class{how}"


def _class_weight_hint(probe: Probe, train: Counter[int]) -> str:
    """Return the hint how to weight rare classes."""
    kind, classes = probe.objective.loss.kind, probe.facts.classes or 0
    if min(train.values()) < FEWEST:
        return "find more examples of the small ones, or leave them out: a weight adds none"
    if kind == "binary_cross_entropy" and train[0] and train[1]:
        return f"weigh the classes: `loss: {{binary_cross_entropy: {{pos_weight: {train[0] / train[1]:.2g}}}}}`"
    if kind not in ("cross_entropy", "focal") or classes > LISTED:
        return "look at the errors of each class, or find more of the small ones"
    each = [f"{train.total() / (classes * train[k]):.2g}" if train[k] else "1" for k in range(classes)]
    return f"weigh the classes: `loss: {{{kind}: {{weight: [{', '.join(each)}]}}}}` under the objective"


@check("duplicates")
def duplicates(probe: Probe) -> CheckOutcome:
    """Check for training examples that occur several times."""
    train = probe.sets.train
    first_rows: dict[bytes, int] = {}
    copies = at_odds = 0
    for row, key in enumerate(fingerprints(inputs_of(probe.sets, train))):
        first = first_rows.setdefault(key, row)
        copies += first != row
        at_odds += first != row and not np.array_equal(train.y[first], train.y[row])
    expected = "no example twice"
    if not copies:
        return CheckOutcome("ok", "none", expected)
    finding = f"{copies:,} of {len(train):,} training examples are copies of others"
    finding += f", {at_odds:,} of them with another target" if at_odds else ""
    often = at_odds or copies > MUCH * len(train)
    hint = "Keep one of each." if not at_odds else "Keep one of each, with the right target."
    figure = f"{copies:,} of {len(train):,}"
    return (
        CheckOutcome("look", figure, expected, finding, hint, probe.place("data"))
        if often
        else CheckOutcome("ok", figure)
    )


@check("leakage")
def leakage(probe: Probe) -> CheckOutcome:
    """Check for held-out examples that are training examples too."""
    held = list(_held_out(probe))
    if not held:
        return not_run("no valid or test part")
    known = set(fingerprints(inputs_of(probe.sets, probe.sets.train)))
    found = [
        (name, sum(key in known for key in fingerprints(inputs_of(probe.sets, part))), len(part))
        for name, part in held
    ]
    figure = ", ".join(f"{count:,} of {n:,} in {name}" for name, count, n in found)
    expected = "no held-out example in train"
    finding = "; ".join(
        f"{count:,} of {n:,} examples in {name} are training examples too" for name, count, n in found if count
    )
    if not finding:
        return CheckOutcome("ok", figure, expected)
    much = any(count > MUCH * n for _, count, n in found)
    hint = "What is measured there is memory: take out of one part what is in the other."
    return CheckOutcome("wrong" if much else "look", figure, expected, finding, hint, probe.place("data"))


@check("row order")
def row_order(probe: Probe) -> CheckOutcome:
    """Check for inputs that count the rows of the file."""
    train = probe.sets.train
    if train.rows is None or train.x.ndim != 2 or len(train) < COUNTABLE:
        return not_run("no rows of a file")
    order = np.argsort(train.rows)
    steps = np.diff(train.x[order], axis=0)
    counting = np.flatnonzero((steps > 0).all(0) | (steps < 0).all(0))
    expected = "no input that counts the rows"
    if not len(counting):
        return CheckOutcome("ok", "none", expected)
    names = [name for use in probe.facts.columns for name in [use.name] * use.inputs]
    found = [f"`{names[i]}`" if len(names) == train.x.shape[1] else f"number {i}" for i in counting]
    message = f"the input {found[0]} {'rises' if steps[0, counting[0]] > 0 else 'falls'} from row to row of the file"
    hint = "Leave it out where it is only the number of a row; where it is a time, cut the parts with `split: order`."
    figure, place = f"{len(found):,} of {train.x.shape[1]:,} inputs", probe.place("data")
    if train.y.ndim == 1 and (np.diff(train.y[order]) != 0).sum() + 1 == len(np.unique(train.y)) > 1:
        message += ", and the rows are sorted by class: its order alone tells the classes apart"
        hint = "Leave it out where it is only the number of a row."
        verdict: Verdict = "wrong" if train.x.shape[1] > 1 else "look"
        return CheckOutcome(verdict, figure, expected, message, hint, place)
    return CheckOutcome("look", figure, expected, message, hint, place)


def _held_out(probe: Probe) -> Iterable[tuple[str, Split]]:
    parts = {"valid": probe.sets.valid, "test": probe.sets.test}
    return ((name, part) for name, part in parts.items() if part is not None and len(part))


def inputs_of(sets: Sets, part: Split) -> list[Any]:
    """Return the arrays (n, ...) of all inputs of a part."""
    return [sets.values(part, name) for name in sets.named("input")]


def fingerprints(inputs: Sequence[Any]) -> Iterable[bytes]:
    """Yield a digest of all inputs (n, ...) of each example; equal examples have equal digests."""
    # a digest in place of the row: a training set of images would be in memory twice
    return (hashlib.blake2b(b"".join(rows), digest_size=16).digest() for rows in zip(*map(flat, inputs), strict=True))
