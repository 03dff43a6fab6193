"""How alike two sets of features of the same examples are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def linear_cka(x: Any, y: Any, *, debiased: bool = False) -> float:
    """Return the linear centred kernel alignment of features x (n, p) and y (n, q) of the same n examples.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) of K = x x^T and L = y y^T, both centred: 1 where one is a rotation and a
    multiple of the other, 0 where no feature of one correlates with one of the other. With few examples and many
    features it is near 1 for features that have nothing to do with each other; `debiased` takes the unbiased estimate
    of HSIC, which is 0 there on average, may be a little below it, and wants four examples. NaN where the features of
    one do not vary.

    Source: Kornblith et al. 2019, arXiv:1905.00414, equation 3; Song et al. 2012, equation 5 (unbiased HSIC).
    """
    k, ll = gram(x), gram(y)
    return cka_of_grams(k, ll, debiased=debiased)


def gram(x: Any) -> Array:
    """Return the inner products (n, n) of features (n, *) whose mean over the examples is subtracted."""
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    flat = flat - flat.mean(0)
    found: Array = flat @ flat.T
    return found


def cka_of_grams(k: Array, other: Array, *, debiased: bool = False) -> float:
    """Return the alignment of two centred matrices of inner products (n, n); see `linear_cka`."""
    hsic = unbiased_hsic if debiased else biased_hsic
    own = hsic(k, k) * hsic(other, other)
    return float(hsic(k, other) / np.sqrt(own)) if own > 0 else float("nan")


def biased_hsic(k: Array, other: Array) -> float:
    """Return (n - 1)^2 times the biased estimate of HSIC of centred matrices of inner products: tr(K L)."""
    return float((k * other).sum())


def unbiased_hsic(k: Array, other: Array) -> float:
    """Return n (n - 3) times the unbiased estimate of HSIC (Song et al. 2012), which leaves the diagonals out."""
    n = len(k)
    a, b = (one - np.diag(np.diag(one)) for one in (k, other))
    both = (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a.sum(0) @ b.sum(0)) / (n - 2)
    return float(both)
