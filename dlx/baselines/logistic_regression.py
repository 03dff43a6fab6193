"""Logistic regression."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from .base import Baseline, Learns


class LogisticRegression(Baseline):
    """Softmax regression: linear logits with the cross-entropy loss and an L2 penalty, by L-BFGS.

    Targets: classes. Inputs want to be standardised.
    Source: sklearn.linear_model.LogisticRegression.
    """

    kind: ClassVar[str] = "logistic_regression"
    learns: ClassVar[tuple[Learns, ...]] = ("classes",)
    C: PositiveFloat = Field(1.0, description="weight of the losses against the squared length of the weights")
    tol: PositiveFloat = Field(1e-4, description="gradient below which the search ends")
    max_iter: PositiveInt = Field(100, le=2_147_483_647, description="iterations at most")

    def estimator(self, learns: Learns, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression as Estimator

        return Estimator(**self.options())
