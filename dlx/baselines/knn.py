"""k-nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from .base import Baseline, Learns

if TYPE_CHECKING:
    from ..data.base import Floats

METRICS = {"l1": "manhattan", "l2": "euclidean"}


class KNN(Baseline):
    """Answer with the majority, or the mean, of the `n_neighbors` nearest training examples.

    Targets: classes or values. Cost: a distance to each training example for each answer. Of classes with equally
    many votes the one with the smallest number is taken. Where neighbours are equally far, `brute` and `kd_tree` keep
    different ones: so the algorithm is fixed and not chosen by the data (`auto`), and how many answers hang on such a
    tie is told.
    Errors: more neighbours than training examples.
    Source: Cover & Hart 1967, "Nearest neighbor pattern classification"; sklearn.neighbors.KNeighborsClassifier.
    """

    kind: ClassVar[str] = "knn"
    n_neighbors: PositiveInt = Field(5, description="how many neighbours answer")
    metric: Literal["l1", "l2", "chebyshev", "cosine"] = Field(
        "l2", description="the distance: l1 adds up differences"
    )
    weights: Literal["uniform", "distance"] = Field("uniform", description="votes count alike, or by 1 / distance")
    algorithm: Literal["brute", "kd_tree", "ball_tree"] = Field("brute", description="how neighbours are found")

    def estimator(self, learns: Learns, seed: int) -> Any:
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

        options = self.options("metric") | {"metric": METRICS.get(self.metric, self.metric)}
        return (KNeighborsClassifier if learns == "classes" else KNeighborsRegressor)(**options)

    def evaluations(self, fitted: int, asked: int) -> int:
        return fitted * asked

    def remarks(self, fitted: Any, x: Floats) -> list[str]:
        k, found = self.n_neighbors, []
        if k < fitted.n_samples_fit_:
            distances, _ = fitted.kneighbors(x, k + 1)
            if tied := int((distances[:, k - 1] == distances[:, k]).sum()):
                found.append(
                    f"{tied:,} of {len(x):,} answers hang on a tie: the neighbours {k} and {k + 1} are "
                    f"equally far, and {self.algorithm} keeps one of them"
                )
        if hasattr(fitted, "classes_") and self.weights == "uniform" and k > 1:
            shares = fitted.predict_proba(x)
            if even := int(((shares == shares.max(1, keepdims=True)).sum(1) > 1).sum()):
                found.append(
                    f"{even:,} of {len(x):,} answers have equally many votes for several classes, and the "
                    "one with the smallest number is taken"
                )
        return found
