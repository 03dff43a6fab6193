"""The batch size over a training: `train.batch_schedule`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated

from pydantic import Field, PositiveInt

from ...registry import Strict
from ...schedules import Timeline
from ...utils.exact_fractions import rational

MOST = 10**15


class BatchSchedule(Strict):
    """Batches that grow during training, in place of a learning rate that falls.

    Source: Smith et al. 2018, arXiv:1711.00489; Russell & Norvig, section 22.4.
    """

    milestones: list[PositiveInt] = Field(
        min_length=1, max_length=100, description="epochs from the start after which batches grow"
    )
    factor: Annotated[float, Field(gt=1)] = Field(2.0, description="how many times as large they are then")
    max_size: PositiveInt | None = Field(None, description="the largest batch; else the whole training set")

    def size(self, first: int, epoch: int) -> int:
        """Return the examples in a batch of an epoch, counted from 0, where those of the first epoch have `first`."""
        times = bisect_right(sorted(self.milestones), epoch)
        grown = first * Fraction(1)
        for _ in range(times):
            grown = min(grown * rational(self.factor), Fraction(MOST))
        whole = round(grown)
        return whole if self.max_size is None else max(first, min(whole, self.max_size))

    def span(self, updates: Callable[[int], int], steps: int | None, epochs: int) -> Timeline:
        """Return the length of a training in steps or epochs; `updates(epoch)` counts the updates of an epoch."""
        later: list[tuple[int, int]] = []
        begun = step = 0
        for epoch in sorted(set(self.milestones)):
            step += (epoch - begun) * updates(begun)
            later.append((step, updates(epoch)))
            begun = epoch
        span = Timeline(steps or 0, updates(0), tuple(later))
        return span if steps else span._replace(steps=span.updates(epochs))
