"""The section `train`: how the network is trained."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import ceil
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ..optim import OPTIMIZERS, Adam, GradientDescent, Optimizer
from ..registry import Choice, Strict
from ..schedules import SCHEDULES, Constant, Schedule, Span


class Matched(Strict):
    """Weights that are trained in their own way."""

    match: str | list[str] = Field(description="nodes or weights, with *: stage_1, stage_1/*, '*/bias'")
    lr: NonNegativeFloat | None = Field(None, description="their own learning rate; or give `lr_scale`")
    lr_scale: NonNegativeFloat | None = Field(None, description="part of the optimizer's rate; or give `lr`")
    weight_decay: NonNegativeFloat | None = Field(None, description="in place of the optimizer's")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.lr is not None and self.lr_scale is not None:
            raise ValueError("`lr` and `lr_scale` both say the rate: give one of the two")
        if self.lr is None and self.lr_scale is None and self.weight_decay is None:
            raise ValueError("a group wants something of its own: `lr`, `lr_scale` or `weight_decay`")
        return self

    @property
    def patterns(self) -> list[str]:
        return self.match if isinstance(self.match, list) else [self.match]

    def takes(self, weight: str) -> bool:
        """Whether a weight, `stage_1/conv_1/bias`, or a node above it, is meant."""
        return any(matches(weight, pattern) for pattern in self.patterns)


def matches(weight: str, pattern: str) -> bool:
    """Whether a pattern is for a weight or for something that it lies in."""
    return fnmatchcase(weight, pattern) or fnmatchcase(weight, f"{pattern}/*")


class Train(Strict):
    """How the network is trained."""

    steps: PositiveInt | None = Field(None, description="updates; or give `epochs`")
    epochs: PositiveInt | None = Field(None, description="passes over the training set; or give `steps`")
    batch_size: PositiveInt | Literal["all"] = Field(
        32, description="examples in a batch; all is the whole training set"
    )
    accumulate: PositiveInt = Field(
        1, description="batches in an update, which is that of one batch as large as all of them"
    )
    optimizer: Annotated[Optimizer, Choice(OPTIMIZERS)] = Field(Adam(), description="how weights move")
    schedule: Annotated[Schedule, Choice(SCHEDULES)] = Field(Constant(), description="how the learning rate moves")
    groups: list[Matched] = Field(
        [], max_length=100, description="weights with a rate or decay of their own; the first that matches counts"
    )
    decay: Literal["all", "weights"] = Field(
        "all", description="what the optimizer's weight_decay is for; weights leaves out biases and norms"
    )
    clip_value: PositiveFloat | None = Field(None, description="the largest value a gradient may have; cut off there")
    clip_norm: PositiveFloat | None = Field(
        None, description="the largest norm of all gradients together; scaled down to it, after `clip_value`"
    )
    seed: NonNegativeInt = Field(0, description="of the initial weights, the order of the data and dropout")
    seeds: PositiveInt = Field(
        1, description="how many seeds to train, from `seed` on; more than one gives an interval"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        "auto", description="auto, cpu, cuda or cuda:N"
    )
    threads: PositiveInt | Literal["auto"] = Field(
        "auto", description="CPU threads; auto takes one for small networks"
    )
    shuffle: bool = Field(True, description="a new order of the training set in each epoch")
    drop_last: bool = Field(False, description="leave out the last update of an epoch where it has fewer examples")
    evaluate_every: PositiveInt | None = Field(
        None, description="steps between two evaluations; else an epoch, or more to keep it to about a hundred"
    )
    save_every: PositiveInt | None = Field(
        None, description="steps between two checkpoints to go on from; else about every five seconds"
    )
    log_every: PositiveInt | None = Field(
        None, description="steps between two points of the loss curve; else about 500 points"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("training lasts `steps: N` or `epochs: N`: give one of the two")
        return self

    @model_validator(mode="after")
    def _goes_with_the_optimizer(self) -> Self:
        kind = self.optimizer.kind
        if isinstance(self.optimizer, GradientDescent) and not self.is_whole:
            raise ValueError(f"{kind} takes the whole training set in a step: drop `batch_size`, or take `sgd`")
        if self.optimizer.takes != "gradient" and (self.clip_norm or self.clip_value):
            raise ValueError(f"{kind} looks at the loss more than once a step, and its gradients cannot be clipped")
        if self.groups and not self.optimizer.grouped:
            raise ValueError(f"{kind} moves all weights together, and takes no `groups`")
        if any(g.weight_decay is not None for g in self.groups) and not hasattr(self.optimizer, "weight_decay"):
            raise ValueError(f"{kind} has no weight_decay, and one of the `groups` gives it")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether a batch is the whole training set: as the spec says, or else as the optimizer wants it."""
        return self.batch_size == "all" or (self.optimizer.whole and "batch_size" not in self.model_fields_set)

    def batch(self, examples: int) -> int:
        """Examples in a batch, for a training set of `examples`."""
        return examples if self.is_whole or self.batch_size == "all" else min(self.batch_size, examples)

    def per_update(self, examples: int) -> int:
        """Examples in an update."""
        return min(self.batch(examples) * self.accumulate, examples)

    def span(self, examples: int) -> Span:
        """How many updates there are, and how many of them make an epoch."""
        size = self.per_update(examples)
        per_epoch = examples // size if self.drop_last else ceil(examples / size)
        return Span(self.steps or (self.epochs or 0) * per_epoch, per_epoch)
