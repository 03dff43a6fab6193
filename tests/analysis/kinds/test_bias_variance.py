"""`bias_variance`: least squares on targets whose noise is drawn anew, beside its formula and NumPy's solutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import analyzed, refused, subject_in

from dlx.errors import DlxError

SPEC = """
dlx: 1
name: squares
data: {synthetic: {shape: [5], classes: null, target: [1], train: 20, test: 100, label_noise: {std: 0.5}}}
network: {layers: [{linear: {out_features: 1, bias: false}}]}
objective: regression
train: {steps: 1, batch_size: all, optimizer: newton}
"""
LINE = """
dlx: 1
name: line
data: {curve: {function: wave, noise: 0, train: 25, valid: 0, test: 100, label_noise: {std: 0.3}}}
vars: {hidden: 3}
network:
  layers:
    - {linear: "${hidden}", name: joints, values: {weight: 1, bias: "${[-k / hidden for k in range(hidden)]}"}}
    - relu
    - linear: 1
freeze: [joints]
objective: regression
train: {steps: 1, batch_size: all, optimizer: {newton: {damping: 1e-6}}}
"""


def test_variance_of_least_squares_is_that_of_the_formula_and_there_is_no_bias(tmp_path: Path) -> None:
    """s^2 x (X'X)^-1 x', of the inputs that the data has. Twin: without one input there is a bias."""
    subject = subject_in(tmp_path, SPEC)
    found = analyzed("bias_variance", subject, resample="noise", networks=40).figures
    train, test = (np.asarray(part.x, float) for part in (subject.sets.train, subject.sets.test) if part is not None)
    expected = 0.25 * np.einsum("ni,ij,nj->n", test, np.linalg.inv(train.T @ train), test).mean()
    assert found["variance"] == pytest.approx(expected, rel=0.2)
    assert abs(found["bias"]) < 0.01 * expected + 0.005
    blind = SPEC.replace("layers: [", "layers: [{slice: {start: 0, stop: 3}}, ")
    twin = analyzed("bias_variance", subject_in(tmp_path, blind), resample="noise", networks=6).figures
    assert twin["bias"] > 5 * found["variance"]


def test_bias_falls_and_variance_rises_with_the_joints_of_a_line(tmp_path: Path) -> None:
    """The parts are those of NumPy's solutions on the same examples. Twin: one sample of data has no variance."""
    subject, options = subject_in(tmp_path, LINE), {"over": "vars.hidden", "values": [1, 8], "networks": 6}
    found = analyzed("bias_variance", subject, resample="data", **options).figures
    assert found["bias_fall"] > 0
    assert found["variance_rise"] > 0
    assert found["error_8"] == pytest.approx(found["bias_8"] + found["variance_8"])
    assert found["variance_8"] == pytest.approx(_variance(subject, 8, 6), rel=0.05)
    same = analyzed("bias_variance", subject, resample="weights", **options).figures
    assert same["variance_8"] < 1e-3 * found["variance_8"]


def _variance(subject: Any, joints: int, networks: int) -> float:
    """The variance on the test part of broken lines that NumPy fits to the same examples."""
    x = subject.sets.test.x
    answers = []
    for seed in range(networks):
        sets = subject.experiment.changed([f"++data.curve.seed={seed}"]).data.load()
        w, *_ = np.linalg.lstsq(_features(sets.train.x, joints), sets.train.y, rcond=None)
        answers.append(_features(x, joints) @ w)
    return float(np.var(answers, axis=0, ddof=1).mean())


def _features(x: Any, joints: int) -> Any:
    """Ramps from each joint on, and a constant."""
    return np.hstack([np.maximum(x - np.arange(joints) / joints, 0), np.ones_like(x)])


def test_classes_have_a_correction(tmp_path: Path) -> None:
    text = """
    dlx: 1
    name: classes
    data: {moons: {train: 30, valid: 0, test: 60, noise: 0.3}}
    network: {layers: [{linear: 2}]}
    train: {steps: 40, optimizer: {adam: 0.1}}
    """
    found = analyzed("bias_variance", subject_in(tmp_path, text), networks=5).figures
    rest = found["bias"] + found["variance"] - found.get("correction", 0)
    assert found["error"] == pytest.approx(rest)
    assert 0 < found["error"] < 0.5


@pytest.mark.parametrize(
    ("old", "new", "options", "words"),
    [
        (", label_noise: {std: 0.5}", "", {"resample": "noise"}, "the data has no `label_noise` to draw anew"),
        ("", "", {"over": "vars.width"}, "`over` stands without `values`"),
        ("synthetic: {shape: [5], classes: null, target: [1], train: 20, test: 100, label_noise: {std: 0.5}}",
         "digits: {}", {"resample": "data"}, "`digits` is one pool of examples"),
    ],
)  # fmt: skip
def test_what_cannot_be_resampled_is_told(
    tmp_path: Path, old: str, new: str, options: dict[str, Any], words: str
) -> None:
    text = SPEC.replace(old, new) if old else SPEC
    if "digits" in new:
        text = text.replace("regression", "classification").replace(
            "[{linear: {out_features: 1", "[flatten, {linear: {out_features: 10"
        )
    assert words in refused("bias_variance", subject_in(tmp_path, text), **options)


def test_without_a_held_out_part_nothing_is_trained(tmp_path: Path) -> None:
    """Bias and variance in the training part would be those of what was learned by heart."""
    text = SPEC.replace("test: 100", "test: 0").replace("train: 20", "train: 20, valid: 0")
    with pytest.raises(DlxError, match="holds out no examples to measure its variants on"):
        analyzed("bias_variance", subject_in(tmp_path, text), networks=2)
    assert not list(tmp_path.rglob("checkpoints"))
