"""Whether a training meets what its spec claims of quality, for tests of shipped specs and of broken twins."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from helpers import SHIPPED

from dlx.data import Sets
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


def bits_of_kneser_ney(text: str, n: int, discount: float = 0.75, unknown: bool = True) -> float:
    """Return the bits a character of interpolated Kneser-Ney on the last tenth, counted in the rest in dictionaries.

    Source: Jurafsky & Martin, Speech and Language Processing, 3rd edition, section 3.7 (equations 3.36 to 3.40).
    """
    cut = len(text) - round(len(text) * 0.1)
    known, rest = text[:cut], text[cut:]
    size = len(set(known)) + unknown
    raw = [Counter(known[i : i + k + 1] for i in range(cut - k)) for k in range(n)]
    counts = [Counter(gram[1:] for gram in longer) for longer in raw[1:]] + [raw[-1]]
    sums, kinds = [Counter() for _ in range(n)], [Counter() for _ in range(n)]
    for k, each in enumerate(counts):
        for gram, count in each.items():
            sums[k][gram[:-1]] += count
            kinds[k][gram[:-1]] += 1

    def p(character: str, before: str) -> float:
        k = len(before)
        lower = p(character, before[1:]) if before else 1 / size
        if not sums[k][before]:
            return lower
        own = max(counts[k][before + character] - discount, 0)
        return (own + discount * kinds[k][before] * lower) / sums[k][before]

    each = [p(rest[i], rest[max(0, i - n + 1) : i]) for i in range(1, len(rest))]
    return float(-np.log2(each).mean())


def noise_mse_of_linear_denoiser(x: np.ndarray, alpha_bar: np.ndarray) -> float:
    """Return the mean squared error a value of the best linear estimate of the noise e in sqrt(a) x + sqrt(1 - a) e.

    It is the mean over the shares a in `alpha_bar`. Along an axis of the covariance of x (n, D) of the variance v it
    is a v / (a v + 1 - a), the variance of e that the noisy example leaves open.
    """
    v = np.linalg.eigvalsh(np.cov(x.T))
    return float(np.mean([(a * v / (a * v + 1 - a)).mean() for a in alpha_bar]))


def label_accuracy_of_normals(sets: Sets) -> float:
    """Return the share of samples of a normal distribution a class whose nearest test picture is of that class.

    Each has the mean and covariance of the training pictures of its class, cut off at 0 and 1; the mean of 10 draws
    of a sample for each test picture.
    """
    x, y, test = (one.reshape(len(one), -1) for one in (sets.train.x, sets.train.y, sets.test.x))
    y, rng, found = y[:, 0], np.random.default_rng(0), []
    fits = [(x[y == c].mean(0), np.cov(x[y == c].T)) for c in range(10)]
    count = np.bincount(sets.test.y)
    asked = np.repeat(np.arange(10), count)
    for _ in range(10):
        made = np.concatenate([rng.multivariate_normal(*fits[c], count[c]) for c in range(10)]).clip(0, 1)
        away = (test**2).sum(1) - 2 * made @ test.T
        found.append((sets.test.y[away.argmin(1)] == asked).mean())
    return float(np.mean(found))
