"""`early_stopping`: the best step of gradient descent on least squares, beside the iterates by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import experiment_of
from trainings import refused

from dlx.analysis.subject import of_runs
from dlx.experiment import runner
from dlx.spec.analyses import ANALYSES

SPEC = """
dlx: 1
name: stop
data:
  synthetic:
    {shape: [20], classes: null, target: [1], train: 24, valid: 100, test: 0, seed: 3, label_noise: {std: 1.0}}
network: {layers: [{linear: {out_features: 1, bias: false}, values: {weight: 0}}]}
objective: regression
train: {steps: 600, batch_size: all, optimizer: {sgd: 0.05}, evaluate_every: 10}
track: {mlflow: false}
"""


def iterates(spec) -> np.ndarray:
    """The validation loss after every tenth step of gradient descent."""
    sets = spec.data.load()
    x, y, w, found = sets.train.x.astype(float), sets.train.y, np.zeros((20, 1)), []
    for step in range(1, 600):
        w -= 0.05 * 2 / len(x) * x.T @ (x @ w - y)
        if step % 10 == 0:
            found.append(((sets.valid.x @ w - sets.valid.y) ** 2).mean())
    return np.array(found)


def test_the_best_step_is_that_of_the_iterates(tmp_path: Path) -> None:
    """Twin: without noise in the targets the last step is the best, and nothing is lost."""
    spec = experiment_of(SPEC)
    subject = of_runs([one.run for one in runner.run(spec, tmp_path).results])
    found = ANALYSES["early_stopping"]().run(subject).figures
    expected = iterates(spec)
    assert found["best_step"] == 10 * (int(expected.argmin()) + 1)
    assert found["best"] == pytest.approx(expected.min(), rel=1e-3)
    assert found["lost"] > 0.1
    assert found["best_step"] < found["stop_step"] == found["best_step"] + 50
    assert found["stop_best"] == found["best"]
    clean = spec.changed(["~data.synthetic.label_noise"])
    twin = ANALYSES["early_stopping"]().run(of_runs([one.run for one in runner.run(clean, tmp_path).results])).figures
    assert twin["lost"] == 0


def test_a_run_without_evaluations_has_no_curve(tmp_path: Path) -> None:
    spec = experiment_of(SPEC).changed(["data.synthetic.valid=0", "train.steps=5"])
    subject = of_runs([one.run for one in runner.run(spec, tmp_path).results])
    assert "has no curve of valid/loss\n  Give its data a validation part" in refused("early_stopping", subject)
    assert "no training of" in refused("early_stopping", subject, metric="eror")
