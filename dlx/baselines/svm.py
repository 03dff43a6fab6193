"""The linear support vector machine."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from .base import Baseline, Learns


class SVM(Baseline):
    """Separate the classes by linear scores with the largest margin; of values, a line with an epsilon tube.

    Targets: classes (one against the rest, or with the hinge loss of all classes at once: crammer_singer) or values.
    It has scores and no probabilities, so that no loss is given. Inputs want to be standardised.
    Source: Cortes & Vapnik 1995; Crammer & Singer 2001; sklearn.svm.LinearSVC and LinearSVR (liblinear).
    """

    kind: ClassVar[str] = "svm"
    probabilities: ClassVar[bool] = False
    several_values: ClassVar[bool] = False
    C: PositiveFloat = Field(1.0, description="weight of the losses against the squared length of the weights")
    multi_class: Literal["ovr", "crammer_singer"] = Field(
        "ovr", description="one class against the rest, or the hinge loss of all at once"
    )
    loss: Literal["squared_hinge", "hinge"] = Field("squared_hinge", description="of classes one against the rest")
    epsilon: NonNegativeFloat = Field(0.0, description="of values: errors up to this cost nothing")
    tol: PositiveFloat = Field(1e-4, description="change below which the search ends")
    max_iter: PositiveInt = Field(1000, le=2_147_483_647, description="iterations at most")

    @property
    def is_random(self) -> bool:
        return True  # coordinate descent draws the order of the examples

    def estimator(self, learns: Learns, seed: int) -> Any:
        from sklearn.svm import LinearSVC, LinearSVR

        shared = {"C": self.C, "tol": self.tol, "max_iter": self.max_iter, "random_state": seed, "dual": "auto"}
        if learns == "values":
            return LinearSVR(epsilon=self.epsilon, **shared)
        dual = "auto" if self.multi_class == "ovr" else True
        return LinearSVC(multi_class=self.multi_class, loss=self.loss, **shared | {"dual": dual})
