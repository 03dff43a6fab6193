"""`learning_curve`: least squares beside the formula of its expected errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import analyzed, refused, subject_in

from dlx.analysis.subject import Subject
from dlx.errors import DlxError

SPEC = """
dlx: 1
name: squares
data: {synthetic: {shape: [4], classes: null, target: [1], train: 80, test: 200, label_noise: {std: 1.0}}}
network: {layers: [{linear: {out_features: 1, bias: false}}]}
objective: regression
train: {steps: 1, batch_size: all, optimizer: newton}
"""
SIZES = [20, 40]


def solved(subject: Subject, n: int, seeds: int) -> float:
    """The mean test error of NumPy's solutions for the examples of each seed."""
    errors = []
    for seed in range(seeds):
        data = subject.experiment.changed([f"++data.synthetic.seed={seed}", f"++data.synthetic.train={n}"]).data
        assert data is not None
        sets = data.load()
        assert sets.test is not None
        w, *_ = np.linalg.lstsq(sets.train.x.astype(float), sets.train.y, rcond=None)
        errors.append(float(((sets.test.x @ w - sets.test.y) ** 2).mean()))
    return float(np.mean(errors))


def test_errors_of_least_squares_are_those_of_the_formula(tmp_path: Path) -> None:
    """p / (n - p - 1) on new inputs, 1 - p / n on those of the training. Twin: a network that is not trained."""
    subject = subject_in(tmp_path, SPEC)
    found = analyzed("learning_curve", subject, sizes=SIZES, seeds=20, draw="data").figures
    for n in SIZES:
        assert found[f"error_{n}"] == pytest.approx(4 / (n - 5), rel=0.35)
        assert found[f"train_{n}"] == pytest.approx(1 - 4 / n, rel=0.15)
        assert found[f"error_{n}"] == pytest.approx(solved(subject, n, 20), rel=1e-3)
    assert found["exponent"] == pytest.approx(1.2, abs=0.4)  # log(35 / 15) / log(2)
    still = subject_in(tmp_path, SPEC, "train.optimizer={sgd: 1e-9}")
    twin = analyzed("learning_curve", still, sizes=SIZES, seeds=2, draw="data").figures
    assert twin["error_40"] > 3 * found["error_40"]
    assert abs(twin["exponent"]) < 0.3


FAR = """
dlx: 1
name: far
data: {blobs: {classes: 3, std: 0.02, train: 60, test: 60}}
network: {layers: [{linear: 3}]}
train: {steps: 40, batch_size: all, optimizer: {adam: 0.1}}
"""


def test_errors_of_0_are_left_out_of_the_power_law_and_said(tmp_path: Path) -> None:
    found = analyzed("learning_curve", subject_in(tmp_path, FAR), sizes=[1, 30, 60], seeds=1, metric="error")
    assert found.figures["error_60"] == 0
    assert found.notes == ("the power law is without the test error of 0 at 30 and 60 examples",)
    assert "exponent" not in found.figures
    assert analyzed("learning_curve", subject_in(tmp_path, SPEC), sizes=SIZES, seeds=1).notes == ()


def test_sizes_are_a_sixteenth_up_to_all_where_none_are_named(tmp_path: Path) -> None:
    found = analyzed("learning_curve", subject_in(tmp_path, SPEC), seeds=1)
    assert [row[0] for row in found.table[1]] == [5, 10, 20, 40, 80]
    labels = [line.label for line in found.panels[0].marks]  # type: ignore[union-attr]
    assert labels[:2] == ["train", "test"]
    assert labels[2].startswith("power law, exponent ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"over": "data.synthetic.trian"}, "`trian`"),
        ({"metric": "error"}, "no training of squares reports error\n  It reports loss, mse, mae."),
    ],
)
def test_what_has_no_sizes_is_told_before_training(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    assert words in refused("learning_curve", subject_in(tmp_path, SPEC), **options)


def test_without_a_held_out_part_nothing_is_trained(tmp_path: Path) -> None:
    subject = subject_in(tmp_path, SPEC.replace("test: 200", "test: 0").replace("train: 80", "train: 80, valid: 0"))

    with pytest.raises(DlxError, match="squares holds out no examples to measure its variants on") as raised:
        analyzed("learning_curve", subject, sizes=SIZES, seeds=1)
    assert "Give the data a `test` or `valid` part." in str(raised.value)
    assert not list(tmp_path.rglob("curve.parquet")) + list(tmp_path.rglob("checkpoints"))
