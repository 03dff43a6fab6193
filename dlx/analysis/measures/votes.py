"""Answers of nearest neighbours by L_n distances, and where they hang on a tie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Classes = npt.NDArray[np.int64]

TIE: Final = -1
"""Answer of a place whose class hangs on a tie."""
SAME: Final = 1e-9
"""Relative difference below which two distances are equal: sums in another order differ by rounding."""
AT_ONCE: Final = 2**22
"""Distances at once, in numbers."""


def distances(a: Any, b: Any, n: float) -> Array:
    """Return the L_n distances (len(a), len(b)) of rows: (sum over i of |a_i - b_i|^n)^(1/n), the largest for inf."""
    from scipy.spatial.distance import cdist

    plain = {1.0: "cityblock", 2.0: "euclidean", float("inf"): "chebyshev"}
    found: Array = cdist(a, b, plain[n]) if n in plain else cdist(a, b, "minkowski", p=n)
    return found


def voted(queries: Any, points: Any, classes: Classes, k: int, n: float = 2, *, leave_out: bool = False) -> Classes:
    """Return the class that most of the k nearest of `points` have, for each query; TIE where that is not decided.

    It is not decided where classes have equally many votes, and where points are equally far as the k-th so that
    another choice among them would change the answer. `leave_out`: the queries are the points, and none votes itself.
    """
    count = int(classes.max()) + 1
    found = [_answers(d, classes, k, count) for d in _pieces(queries, points, n, leave_out)]
    return np.concatenate(found)


def _pieces(queries: Any, points: Any, n: float, leave_out: bool) -> Iterator[Array]:
    size = max(1, AT_ONCE // len(points))
    for at in range(0, len(queries), size):
        found = distances(queries[at : at + size], points, n)
        if leave_out:
            rows = np.arange(len(found))
            found[rows, at + rows] = np.inf
        yield found


def _answers(found: Array, classes: Classes, k: int, count: int) -> Classes:
    """Return the decided classes of rows of distances (q, points)."""
    last = np.partition(found, k - 1, axis=1)[:, k - 1 : k]
    slack = SAME * last
    nearer, level = found < last - slack, np.abs(found - last) <= slack
    one_hot = np.eye(count, dtype=np.int64)[classes]
    sure, open_ = nearer @ one_hot, level @ one_hot  # votes (q, count)
    places = k - sure.sum(1)
    best = np.full(len(found), TIE, np.int64)
    for c in range(count):
        best[_wins(c, sure, open_, places)] = c
    return best


def _wins(c: int, sure: Classes, open_: Classes, places: Classes) -> Any:
    """Return where class `c` has most votes whichever of the equally far points are taken for the last places."""
    wins = np.ones(len(sure), bool)
    for d in range(sure.shape[1]):
        if d == c:
            continue
        against = np.minimum(places, open_[:, d])
        neither = open_.sum(1) - open_[:, d] - open_[:, c]
        forced = np.maximum(0, places - against - neither)  # places that only points of `c` are left for
        wins &= sure[:, c] + forced > sure[:, d] + against
    return wins
