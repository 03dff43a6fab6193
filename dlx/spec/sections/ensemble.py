"""The field `train.ensemble`: several networks that answer together."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...registry import Declared

Combine = Literal["average", "vote", "unanimous"]
Several = Annotated[int, Field(ge=2, le=1000)]


class Ensemble(Declared):
    """Several networks that answer together: members trained on their own, or snapshots of one training.

    Members differ in their seed: train.seed, train.seed + 1, ... Each is a run of its own. With `bootstrap` each is
    trained on as many examples as there are, drawn with replacement from its seed. Snapshots are the weights at the
    end of each cycle of a schedule that restarts; the last ones answer.
    `average` takes the mean of the probabilities, or of the outputs where a loss has no probabilities; `vote` the
    class that most members name, of several such classes the one with the largest mean probability; `unanimous` the
    class that all name, and class 0 where they differ.
    Errors: both of members and snapshots, or neither; bootstrap of snapshots; a schedule without cycles.
    Source: Hansen & Salamon 1990, Neural network ensembles; Breiman 1996, Bagging predictors (bootstrap); Huang et
    al. 2017, arXiv:1704.00109 (snapshots); Nielsen 2015, Neural Networks and Deep Learning, chapter 6 (vote); Prince
    2023, Understanding Deep Learning, figure 11.11 (unanimous).
    """

    kind: ClassVar[str] = "ensemble"
    members: Several | None = Field(None, description="networks to train; or give `snapshots`")
    combine: Combine = Field(
        "average", description="mean probability, majority (ties by the mean probability), or all against class 0"
    )
    bootstrap: bool = Field(False, description="each member on a sample of the training set, with replacement")
    snapshots: Several | None = Field(None, description="how many of the last cycles of one training answer")

    @model_validator(mode="after")
    def _one_sort(self) -> Self:
        if (self.members is None) == (self.snapshots is None):
            raise ValueError("an ensemble has `members: N` or `snapshots: N`: give one of the two")
        if self.snapshots and self.bootstrap:
            raise ValueError("`bootstrap` gives each member examples of its own, and snapshots are of one training")
        return self
