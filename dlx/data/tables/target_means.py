"""Target encoding: a category becomes the mean of the targets that it has in the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeFloat

from ...lazy import np
from ...registry import Strict

if TYPE_CHECKING:
    from ..base import Labels
    from ..preprocess.sums import Doubles
    from ..splits import Indices


class TargetEncoding(Strict):
    """How categories become means of targets, with scikit-learn's names and defaults."""

    smooth: Literal["auto"] | NonNegativeFloat = Field(
        "auto",
        description="how many examples the mean of all counts for, beside those of a category; auto: by how much "
        "the targets vary within it and in all",
    )
    cv: int = Field(
        5, ge=2, description="parts of the training part, of which each is encoded by the means of the others"
    )


TargetEncodings = Annotated[
    list[str] | dict[str, TargetEncoding],
    Field(description="columns of categories to take as means of the targets, or their options by column"),
]


@dataclass(frozen=True)
class Means:
    """Encoding of a column of categories as means of targets.

    Attributes:
        width: number of inputs: 1 for values and for two classes, else one a class or target.
        means: of each category, (width,) values; empty as long as nothing is fitted.
        prior: means of all targets, for a category that the training part does not have.
        missing: for a missing value; empty where the training part has none.
        smooth, cv: as in `TargetEncoding`.
    """

    width: int
    smooth: Literal["auto"] | float = "auto"
    cv: int = 5
    means: tuple[tuple[float, ...], ...] = ()
    prior: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()

    @property
    def table(self) -> Doubles:
        """Means (categories + 2, width) by category number; then those of a missing value and of an unknown one."""
        return np.array([*self.means, self.missing or self.prior, self.prior], np.float64)


def target_matrix(y: Labels, classes: int | None) -> Doubles:
    """Return targets as columns: class numbers (n,) as 0 and 1 for two classes, else one-hot; values as they are."""
    if classes is None:
        return np.reshape(np.asarray(y, np.float64), (len(y), -1))
    which = np.array([1]) if classes == 2 else np.arange(classes)
    return np.asarray(y[:, None] == which, np.float64)


def category_means(codes: Labels, y: Doubles, categories: int, smooth: Literal["auto"] | float) -> Doubles:
    """Return the smoothed mean (categories, width) of the targets `y` (n, width) of each category.

    Categories without examples have the mean of all. Source: Micci-Barreca 2001, "A preprocessing scheme for
    high-cardinality categorical attributes", sections 3 and 4, as scikit-learn's TargetEncoder takes it.
    """
    prior = y.mean(0)
    count = np.bincount(codes, minlength=categories).astype(np.float64)[:, None]
    total = np.stack([np.bincount(codes, one, minlength=categories) for one in y.T], 1)
    if smooth != "auto":
        weight = count + smooth
        return np.asarray(np.where(weight > 0, (total + smooth * prior) / np.where(weight > 0, weight, 1), prior))
    mean = total / np.maximum(count, 1)
    squares = np.stack([np.bincount(codes, one, minlength=categories) for one in np.square(y - mean[codes]).T], 1)
    between = y.var(0) * count
    both = between + squares / np.maximum(count, 1)
    share: Doubles = np.divide(between, both, out=np.zeros_like(both), where=both > 0)
    smoothed: Doubles = share * mean + (1 - share) * prior
    return smoothed


def fitted_means(encoding: Means, codes: Labels, y: Doubles, categories: int) -> Means:
    """Return the encoding with the means of the training part; code `categories` is a missing value."""
    found = category_means(codes, y, categories + 1, encoding.smooth).tolist()
    missing = tuple(found[categories]) if (codes == categories).any() else ()
    prior = tuple(y.mean(0).tolist())
    return Means(encoding.width, encoding.smooth, encoding.cv, tuple(map(tuple, found[:categories])), prior, missing)


def out_of_fold(encoding: Means, codes: Labels, y: Doubles, categories: int, folds: Sequence[Indices]) -> Doubles:
    """Return the encoding (n, width) of the training examples, each by the means of the other folds.

    An example's own target would tell the network what to predict: a category of one example would be its target.
    """
    found = np.empty((len(codes), encoding.width), np.float64)
    for fold in folds:
        others = np.ones(len(codes), bool)
        others[fold] = False
        found[fold] = category_means(codes[others], y[others], categories + 1, encoding.smooth)[codes[fold]]
    return found
