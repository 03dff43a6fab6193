"""A training that is stopped in the middle and resumed, held against one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlx.experiment import runner
from dlx.spec import Experiment

STEP = 7
"""The step after which it is stopped."""


def assert_it_goes_on(experiment: Experiment, folder: Path) -> None:
    """Assert that a run stopped behind a step and resumed ends with the metrics of a whole one, to the bit."""

    def cut(event: Any) -> None:
        if getattr(event, "record", "") == "step" and event.step == STEP:
            raise KeyboardInterrupt

    whole = runner.run(experiment, folder).results[0]
    stopped = runner.run(experiment, folder, cut).results[0]
    assert stopped.status == "stopped"
    _, ended = runner.resume(stopped.run)
    assert ended.results[0].metrics == whole.metrics
