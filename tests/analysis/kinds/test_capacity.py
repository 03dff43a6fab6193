"""`capacity`: the second descent of least squares on random features, beside NumPy's smallest solutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import analyzed, refused, subject_in

from dlx.analysis.variants import Variant
from dlx.spec.analyses import ANALYSES

SPEC = """
dlx: 1
name: features
data: {synthetic: {shape: [6], classes: null, target: [1], train: 16, test: 200, label_noise: {std: 0.3}}}
vars: {width: 16}
network:
  layers:
    - {linear: "${width}", name: features}
    - relu
    - {linear: {out_features: 1, bias: false}, name: last, values: {weight: 0}}
freeze: [features]
objective: regression
train:
  steps: 15
  batch_size: all
  optimizer: {lbfgs: {line_search_fn: strong_wolfe, tolerance_grad: 1e-12, tolerance_change: 0}}
"""
OPTIONS: dict[str, Any] = {"values": [4, 8, 16, 48], "seeds": 1, "metric": "loss"}


def smallest_solution(variant: Variant) -> float:
    """The mean test error of the smallest weights that fit the features best, by NumPy."""
    from dlx.training.checkpoints import checkpoint

    assert variant.experiment.data is not None
    sets, errors = variant.experiment.data.load(), []
    assert sets.test is not None
    for run in variant.runs:
        _, weights = checkpoint.read(run.dir / "checkpoints", "final")
        w, b = weights["features.weight"].double().numpy(), weights["features.bias"].double().numpy()
        train, test = (np.maximum(part.x @ w.T + b, 0) for part in (sets.train, sets.test))
        solution = np.linalg.pinv(train) @ sets.train.y
        errors.append(float(((test @ solution - sets.test.y) ** 2).mean()))
    return float(np.mean(errors))


def test_the_test_error_peaks_where_there_are_as_many_features_as_examples(tmp_path: Path) -> None:
    """Twin: weights that are held small by a penalty have no peak there."""
    subject = subject_in(tmp_path, SPEC)
    found = analyzed("capacity", subject, **OPTIONS)
    assert (found.figures["second_descent"], found.figures["peak"], found.figures["threshold"]) == (True, 16, 16)
    assert found.figures["peak_params"] == 16
    variants = ANALYSES["capacity"](**OPTIONS).variants(subject)
    for row, variant in zip(found.table[1], variants, strict=True):
        if row[0] != 16:  # where the features are nearly dependent, single precision ends elsewhere
            assert row[4] == pytest.approx(smallest_solution(variant), rel=0.02)
    twin = analyzed("capacity", subject_in(tmp_path, SPEC, "objective={regression: {l2: 0.1}}"), **OPTIONS)
    assert twin.figures["rise"] < 0.05 * found.figures["rise"]
    assert "threshold" not in twin.figures


def test_a_spec_without_data_is_told(tmp_path: Path) -> None:
    text = "dlx: 1\nname: bare\nvars: {width: 4}\nnetwork: {inputs: [2], layers: [{linear: '${width}'}]}\n"
    assert "there is no `data` to train with" in refused("capacity", subject_in(tmp_path, text))


def test_curves_without_noise_stand_beside_those_with_it(tmp_path: Path) -> None:
    text = """
    dlx: 1
    name: noisy
    data: {synthetic: {shape: [4], classes: 2, train: 40, test: 40}}
    vars: {width: 4}
    network: {layers: [{linear: "${width}"}, relu, {linear: 2}]}
    train: {steps: 5}
    """
    found = analyzed("capacity", subject_in(tmp_path, text), seeds=1, label_noise=0.5)
    assert [line.label for line in found.panels[0].marks] == [  # type: ignore[union-attr]
        *("train with noise", "test with noise", "train without noise", "test without noise")
    ]
    assert [row[0] for row in found.table[1]] == [1, 2, 4, 8, 16] * 2
    assert {"best", "clean_best"} <= found.figures.keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"over": "vars.depth"}, "`vars.depth` is not in the spec"),
        ({"over": "vars.wdth", "values": [1, 2, 3]}, "there is no `vars.wdth` to override\n  Did you mean `width`?"),
        ({"values": [4, 8]}, "a peak lies between two other values, and `values` has 2"),
        ({"metric": "accuracy"}, "no training of features reports accuracy\n  It reports loss, mse, mae."),
    ],
)
def test_what_makes_no_curve_is_told_before_training(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    assert words in refused("capacity", subject_in(tmp_path, SPEC), **options)
    assert not any(tmp_path.iterdir())
