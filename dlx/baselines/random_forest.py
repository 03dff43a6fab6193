"""The random forest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from .base import Baseline, Learns


class RandomForest(Baseline):
    """Average decision trees, each of a bootstrap sample with a random choice of inputs at each split.

    Targets: classes or values. Scales of the inputs do not matter.
    Source: Breiman 2001, "Random forests"; sklearn.ensemble.RandomForestClassifier and RandomForestRegressor.
    """

    kind: ClassVar[str] = "random_forest"
    n_estimators: PositiveInt = Field(100, le=100_000, description="how many trees")
    max_depth: PositiveInt | None = Field(
        None, description="splits from root to leaf at most; null: until leaves are pure"
    )
    min_samples_leaf: PositiveInt = Field(1, description="examples that a leaf has at least")
    max_features: Literal["sqrt", "log2"] | PositiveInt | PositiveFloat | None = Field(
        None,
        description="inputs tried at a split: sqrt, log2, a count or a fraction; null: sqrt for classes, else all",
    )

    @property
    def is_random(self) -> bool:
        return True

    def estimator(self, learns: Learns, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        cls, usual = (RandomForestClassifier, "sqrt") if learns == "classes" else (RandomForestRegressor, 1.0)
        tried = usual if self.max_features is None else self.max_features
        return cls(**self.options("max_features"), max_features=tried, random_state=seed)
