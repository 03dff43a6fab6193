"""A guess that ignores the inputs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from .base import Baseline, Learns


class Dummy(Baseline):
    """Guess without a look at the inputs: the most frequent class with the shares of all, or the mean of the targets.

    Targets: classes or values. What learns something is better than this.
    Errors: a strategy of the other kind of target.
    Source: sklearn.dummy.DummyClassifier and DummyRegressor.
    """

    kind: ClassVar[str] = "dummy"
    strategy: Literal["prior", "most_frequent", "stratified", "uniform", "mean", "median"] | None = Field(
        None,
        description="of classes prior, most_frequent, stratified, uniform; of values mean, median; null: the first",
    )

    @property
    def is_random(self) -> bool:
        return self.strategy in {"stratified", "uniform"}

    def estimator(self, learns: Learns, seed: int) -> Any:
        from sklearn.dummy import DummyClassifier, DummyRegressor

        if learns == "values":
            return DummyRegressor(strategy=self.strategy or "mean")
        return DummyClassifier(strategy=self.strategy or "prior", random_state=seed)
