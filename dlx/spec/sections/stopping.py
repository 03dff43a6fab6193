"""Fields of `train` about its end: early stopping, the best checkpoints, and a limit of time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from ...metrics import MONITORED_METRIC, Mode, MonitoredMetric
from ...registry import A_NUMBER, Declared

MODE = "what is better: less, or more; else as the metric has it"
SECONDS = {"h": 3600, "m": 60, "s": 1}
MAX_TIME = r"^(\d{1,6}h(\d{1,6}m)?(\d{1,6}s)?|\d{1,6}m(\d{1,6}s)?|\d{1,6}s)$"
MaxTime = Annotated[str, Field(pattern=MAX_TIME)]


class EarlyStopping(Declared):
    """End the training where a metric has not become better for `patience` evaluations.

    It ends at the evaluation that is the last of `patience` in a row without an improvement on the best one by more
    than `min_delta`; then the weights of the best one are brought back, and the figures at the end are theirs.
    Source: Goodfellow et al. 2016, Deep Learning, algorithm 7.1. Keras: EarlyStopping, whose restore_best_weights is
    false where it is not given.
    """

    kind: ClassVar[str] = "early_stopping"
    words_elsewhere: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "metric": {A_NUMBER: "Evaluations to wait are `early_stopping: {patience: 10}`."}
    }
    metric: MonitoredMetric = Field("valid/loss", description=MONITORED_METRIC)
    patience: PositiveInt = Field(10, description="evaluations in a row without an improvement that end it")
    min_delta: NonNegativeFloat = Field(0.0, description="an improvement is more than this")
    mode: Mode | None = Field(None, description=MODE)
    restore_best: bool = Field(True, description="end with the weights of the best evaluation")


class KeepBest(Declared):
    """Keep the weights of the best evaluations as checkpoints best-1, best-2, ...; of equal ones the earlier."""

    kind: ClassVar[str] = "keep_best"
    count: Annotated[int, Field(ge=1, le=100)] = Field(1, description="how many")
    metric: MonitoredMetric | None = Field(
        None, description=f"{MONITORED_METRIC}; else that of `early_stopping`, else valid/loss"
    )
    mode: Mode | None = Field(None, description=MODE)


def seconds(time: str) -> int:
    """Convert `90s`, `30m`, `2h` or `1h30m` to seconds."""
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)([hms])", time))
