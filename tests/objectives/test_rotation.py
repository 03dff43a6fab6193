"""Rotation by hand: what is turned, its loss and metrics; what can be told of pictures and of noise."""

import math

import numpy as np
import pytest
import torch
from helpers import SHIPPED, experiment_of
from quality import bounds
from scipy.stats import ttest_rel

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives import OBJECTIVES
from dlx.spec import load

KIND = OBJECTIVES["rotation"]
SPEC = """
dlx: 1
name: r
data: {synthetic: {shape: [2, 4, 4], classes: 3, train: 48, valid: 12}}
network: {layers: [flatten, {linear: 8}, relu, {dropout: 0.2}, {linear: 4}]}
objective: rotation
train:
  {epochs: 3, batch_size: 8, optimizer: {adam: 1e-2}, log_every: 1, augment: [{gaussian_noise: 0.1}], device: cpu}
track: {mlflow: false}
"""


def test_pictures_are_turned_against_the_clock_as_numpy_turns_them():
    x = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    turned, angle = KIND().turned(x)
    assert angle.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for given, quarter, whole in zip(turned, angle, x.repeat(4, 1, 1, 1), strict=True):
        np.testing.assert_array_equal(given, np.rot90(whole, quarter, (1, 2)))
    assert turned[2, 0, 0].tolist() == [3, 7, 11, 15]  # the right column, from above, is the first row now


def test_loss_and_metrics_of_two_pictures_by_hand():
    x = torch.zeros(2, 1, 2, 2)
    logits = torch.zeros(4, 2)
    logits[0, 0], logits[3, 0] = math.log(3), math.log(3)  # one is right, one is wrong, two say nothing

    def call(name, given):
        assert (name, tuple(given.shape)) == ("network", (4, 1, 2, 2))
        return logits

    one, batch = KIND(angles=[0, 180]), Batch({"input": x})
    expected = (-math.log(3 / 4) + 2 * math.log(2) + math.log(4)) / 4
    assert float(one.terms("train", call, batch, torch.Generator())["cross_entropy"]) == pytest.approx(expected)
    found = one.evaluate(call, batch, torch.Generator())
    assert float(found["loss"]) == pytest.approx(expected)
    assert float(found["accuracy"]) == 0.5  # the first two, of which one is a tie that goes to 0
    assert float(found["error"]) == 0.5


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "shape: [2, 4, 4]",
            "shape: [2, 4, 6]",
            "is for square pictures, and `input` is (2, 4, 6)",
        ),
        (
            "shape: [2, 4, 4]",
            "shape: [16]",
            "takes pictures (channels, height, width), and `input` is (16,)",
        ),
        ("{linear: 4}]", "{linear: 3}]", "the network `network` ends in (3,), and rotation takes (4,)"),
        ("objective: rotation", "objective: {rotation: {angles: [0, 45]}}", "45"),
        (
            "objective: rotation",
            "objective: {rotation: {angles: [0, 90, 90]}}",
            "`angles` names one twice: 0, 90, 90",
        ),
        ("objective: rotation", "objective: {rotation: {field: image}}", "rotation wants `image`"),
        ("{gaussian_noise: 0.1}", "mixup", "mixup mixes targets, and rotation learns none"),
    ],
)
def test_a_mistake_is_a_sentence(old, new, sentence):
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(SPEC.replace(old, new, 1)))
    assert sentence in str(raised.value)


def test_pictures_that_are_not_square_are_turned_upside_down():
    changed = SPEC.replace("[2, 4, 4]", "[2, 4, 6]").replace("rotation\n", "{rotation: {angles: [0, 180]}}\n")
    assert trace_all(experiment_of(changed.replace("{linear: 4}]", "{linear: 2}]"))).one.outputs


def test_the_angle_is_learned_of_pictures_that_have_an_up_and_not_of_noise(tmp_path):
    def accuracy(pictures):
        np.save(tmp_path / "x.npy", pictures.astype(np.float32))
        np.save(tmp_path / "y.npy", np.zeros(len(pictures), dtype=np.int64))
        (tmp_path / "a.yaml").write_text(SPEC)
        arrays = f"data={{arrays: {{path: {tmp_path}/x.npy, targets: {tmp_path}/y.npy, valid: 20}}}}"
        changes = [arrays, "train.epochs=30", "train.optimizer.adam.lr=3e-2", "~train.augment"]
        return runner.run(load(tmp_path / "a.yaml", changes), tmp_path).results[0].metrics["valid/accuracy"]

    noise = np.random.default_rng(0).normal(0, 1, (80, 2, 4, 4))
    bright = noise.copy()
    bright[..., 0] += 4  # the left column
    assert accuracy(bright) > 0.95
    assert accuracy(noise) < 0.5


@pytest.mark.slow
def test_what_tells_angles_helps_to_tell_classes_from_few_labels(tmp_path):
    def accuracies(*changes):
        results = runner.run(load(SHIPPED["zoo/rotation"], ["track.mlflow=false", *changes]), tmp_path).results
        return [one.metrics["test/accuracy"] for one in results]

    turned = accuracies()
    untrained = accuracies("stages.pretrain.train.optimizer={sgd: 1e-20}")
    scratch = accuracies("~stages.pretrain", "~stages.probe")
    assert np.mean(turned) >= bounds("zoo/rotation")["test/accuracy"]["at_least"]
    assert ttest_rel(turned, scratch).confidence_interval(0.95).low > 0
    assert ttest_rel(turned, untrained).confidence_interval(0.95).low > 0
