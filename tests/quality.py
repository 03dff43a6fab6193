"""Whether a training meets what its spec claims of quality, for tests of shipped specs and of broken twins."""

from collections.abc import Iterable, Mapping

import numpy as np
from helpers import SHIPPED

from dlx.graph.expect import claims, unmet_by
from dlx.spec import load


def bounds(name: str) -> dict[str, dict[str, float]]:
    """Return the figures that a shipped spec claims of its metrics, by metric."""
    return {one.quantity: dict(one.figures) for one in claims(load(SHIPPED[name])) if one.trained}


def unmet(name: str, metrics: Mapping[str, float]) -> set[str]:
    """Return the metrics of which a shipped spec claims more than these are."""
    return {one.path.removeprefix("expect.") for one in unmet_by(load(SHIPPED[name]), metrics)}


def all_of(name: str) -> set[str]:
    """Return the metrics of which a shipped spec claims something."""
    return set(bounds(name))


def mean_of(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of the metrics of several trainings."""
    found = list(each)
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def bits_of_counts(text: str) -> float:
    """Return the bits a character of counts of three letters, which see two letters back, with one more of each."""
    cut = len(text) - round(len(text) * 0.1)
    _, number = np.unique(list(text), return_inverse=True)
    size = number.max() + 1
    counts = np.ones((size, size, size))
    np.add.at(counts, (number[: cut - 2], number[1 : cut - 1], number[2:cut]), 1)
    p = counts / counts.sum(-1, keepdims=True)
    rest = number[cut - 2 :]
    return float(-np.log2(p[rest[:-2], rest[1:-1], rest[2:]]).mean())
