"""Labels that are likely wrong, by the probabilities that a network gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Classes = npt.NDArray[np.int64]


class Mistakes(NamedTuple):
    """Examples whose labels are likely wrong.

    Attributes:
        joint: the confident joint (classes, classes): examples labelled i that are confidently j.
        thresholds: mean probability of each class over the examples that are labelled so; NaN of a class without any.
        where: numbers of the likely mistakes, the least likely label first.
        suggested: the class in place of each label.
    """

    joint: Classes
    thresholds: Array
    where: Classes
    suggested: Classes


def likely_mistakes(probabilities: Any, labels: Classes) -> Mistakes:
    """Return the labels (n,) that confident learning takes for mistakes, by probabilities (n, classes).

    An example is confidently of class j where its probability of j is at least the mean of that over the examples
    labelled j; of several such classes the most likely one counts. It is a likely mistake where that is not its
    label. Those come by the margin between the probabilities of label and suggestion, the most negative first.

    Source: Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, equations 1 and 2; ranked by the normalised margin.
    """
    p = np.asarray(probabilities, np.float64)
    n, classes = p.shape
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, p[np.arange(n), labels], classes)
    thresholds = np.divide(sums, counts, out=np.full(classes, np.nan), where=counts > 0)
    confident = p >= np.where(counts > 0, thresholds, np.inf)
    suggestion = np.where(confident, p, -1.0).argmax(1)
    any_class = confident.any(1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[any_class], suggestion[any_class]), 1)
    wrong = np.flatnonzero(any_class & (suggestion != labels))
    margin = p[wrong, labels[wrong]] - p[wrong, suggestion[wrong]]
    order = wrong[np.argsort(margin, kind="stable")]
    return Mistakes(joint, thresholds, order, suggestion[order])
