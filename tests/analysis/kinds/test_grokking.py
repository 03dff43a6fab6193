"""`grokking`: both steps of curves that are written by hand, and a small network that generalises late."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ROOT
from trainings import refused

from dlx.analysis.subject import Subject, of_runs
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.spec.analyses import ANALYSES

SHORT = ["train.steps=60", "~train.seeds", "+track.mlflow=false"]


def trained(folder: Path, *changes: str) -> RunFolder:
    """The shipped spec with changes."""
    spec = load(ROOT / "specs" / "zoo" / "grokking.yaml").changed(changes)
    return runner.run(spec, folder).results[0].run


def with_curve(run: RunFolder, losses: dict[int, float], accuracies: dict[int, float]) -> Subject:
    """A run whose curves are these."""
    (run.dir / "metrics.jsonl").unlink()
    for step, loss in losses.items():
        run.append({"record": "step", "time": 0.0, "step": step, "metrics": {"train/running_loss": loss}})
    for step, accuracy in accuracies.items():
        run.append({"record": "evaluation", "time": 0.0, "step": step, "metrics": {"valid/accuracy": accuracy}})
    run.close()
    return of_runs([run])


def test_both_steps_are_the_first_at_which_their_bounds_hold(tmp_path: Path) -> None:
    """Twin: a run that never generalises has no delay."""
    run = trained(tmp_path, *SHORT)
    losses = {10: 1.0, 20: 0.05, 30: 0.01}
    found = ANALYSES["grokking"]().run(with_curve(run, losses, {10: 0.1, 100: 0.5, 200: 0.96, 300: 1.0})).figures
    assert (found["fitted_step"], found["generalised_step"], found["delay"]) == (20, 200, 10)
    assert (found["generalised"], found["last"]) == (1, 1)
    never = ANALYSES["grokking"]().run(with_curve(run, losses, {10: 0.1, 100: 0.5})).figures
    assert (never["generalised"], never["fitted_step"]) == (0, 20)
    assert not {"delay", "generalised_step"} & never.keys()


def test_a_run_without_evaluations_cannot_be_told(tmp_path: Path) -> None:
    run = trained(tmp_path, *SHORT, "data.modular.valid=0", "++data.modular.test=0.4")
    assert "has no curve of valid/accuracy" in refused("grokking", of_runs([run]))


@pytest.mark.slow
def test_with_weight_decay_other_pairs_are_answered_late_and_without_it_never(tmp_path: Path) -> None:
    found = ANALYSES["grokking"]().run(of_runs([trained(tmp_path, "+track.mlflow=false", "~train.seeds")])).figures
    assert found["delay"] > 5
    without = trained(tmp_path, "+track.mlflow=false", "~train.seeds", "train.optimizer.adamw.weight_decay=0")
    assert ANALYSES["grokking"]().run(of_runs([without])).figures["generalised"] == 0
