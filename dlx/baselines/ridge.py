"""Linear regression with an L2 penalty."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, NonNegativeFloat

from .base import Baseline, Learns


class Ridge(Baseline):
    """Least squares with a squared penalty on the weights; alpha 0 is linear regression.

    Targets: values.
    Source: Hoerl & Kennard 1970; sklearn.linear_model.Ridge and LinearRegression.
    """

    kind: ClassVar[str] = "ridge"
    learns: ClassVar[tuple[Learns, ...]] = ("values",)
    alpha: NonNegativeFloat = Field(1.0, description="weight of the squared length of the weights")

    def estimator(self, learns: Learns, seed: int) -> Any:
        from sklearn.linear_model import LinearRegression
        from sklearn.linear_model import Ridge as Estimator

        # alpha 0 by Ridge solves normal equations, which a singular matrix breaks
        return Estimator(alpha=self.alpha) if self.alpha else LinearRegression()
