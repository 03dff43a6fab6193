"""Losses that are added up, and the hinge of one score: by hand, by torch, and what does not go together."""

import pytest
import torch
from helpers import experiment_of
from pydantic import ValidationError
from torch.nn import functional as F

from dlx.errors import SpecError
from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.losses import LOSSES
from dlx.spec import load
from dlx.training.fit import updates

SPEC = """\
name: net
data: {data}
network:
  layers:
{layers}
objective: {objective}
train: {{steps: 3, batch_size: 8, optimizer: {{sgd: 0.1}}}}
track: {{mlflow: false}}
"""
PLAIN = "    - linear: {}"


def spec(data: str, objective: str, layers: str) -> str:
    return SPEC.format(data=data, objective=objective, layers=layers)


def test_a_sum_is_the_weighted_sum_of_its_losses():
    loss = LOSSES["sum"](losses=["squared_error", "absolute_error"], weights=[2.0, 0.5]).function()
    output, target = torch.tensor([[1.0], [5.0]]), torch.tensor([[3.0], [4.0]])
    assert loss(output, target).item() == 2 * (4 + 1) / 2 + 0.5 * (2 + 1) / 2
    summed = LOSSES["sum"](losses=["squared_error", "absolute_error"], reduction="sum").function()
    assert summed(output, target).item() == 5 + 3


def test_cross_entropy_and_dice_on_a_map():
    """Dice gets ones and zeros where cross-entropy gets class numbers."""
    torch.manual_seed(0)
    output, target = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    p, t = output.softmax(1).flatten(2), F.one_hot(target, 3).movedim(-1, 1).flatten(2)
    dice = (1 - (2 * (p * t).sum(-1) + 1) / (p.sum(-1) + t.sum(-1) + 1)).mean()
    loss = LOSSES["sum"](losses=["cross_entropy", "dice"], weights=[1.0, 3.0])
    torch.testing.assert_close(loss.function()(output, target), F.cross_entropy(output, target) + 3 * dice)
    assert loss.wants == "classes"
    assert not LOSSES["sum"](losses=["cross_entropy", "hinge"]).on_maps


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"losses": ["huber", "dice"], "weights": [1.0]}, "`weights` has 1 values, and there are 2 losses"),
        ({"losses": ["huber", {"sum": {"losses": ["huber", "dice"]}}]}, "a sum stands inside a sum"),
        (
            {"losses": ["huber", {"squared_error": {"reduction": "sum"}}]},
            "stands beside the `losses` of a sum, not in",
        ),
        (
            {"losses": ["dice", {"cross_entropy": {"weight": [1.0, 2.0]}}]},
            "cross_entropy with `weight` has a mean of its",
        ),
        (
            {"losses": ["dice", {"cross_entropy": {"ignore_index": 3}}]},
            "cross_entropy with `ignore_index` has a mean",
        ),
    ],
)
def test_what_cannot_be_added_up(options, sentence):
    with pytest.raises(ValidationError) as refused:
        LOSSES["sum"](**options)
    assert sentence in str(refused.value)


def test_losses_of_different_outputs_are_told_apart():
    text = spec(
        "{synthetic: {shape: [4], target: [1], train: 20}}",
        "{regression: {loss: {sum: [huber, gaussian_nll]}}}",
        PLAIN.format(1),
    )
    with pytest.raises(SpecError) as error:
        experiments.prepare(experiment_of(text))
    assert "of the sum, huber wants an output of (1,), and gaussian_nll one of (2,)" in str(error.value)


def test_a_spec_trains_with_a_sum_and_measures_by_the_first(tmp_path):
    path = tmp_path / "net.yaml"
    objective = "{classification: {loss: {sum: {losses: [cross_entropy, {focal: {gamma: 0}}]}}}}"
    path.write_text(spec("{synthetic: {shape: [4], classes: 3, train: 40, valid: 10}}", objective, PLAIN.format(3)))
    metrics = experiments.run(load(path), tmp_path / "runs").metrics
    path.write_text(path.read_text().replace("{focal: {gamma: 0}}]", "{focal: {gamma: 0}}], weights: [0.5, 0.5]"))
    halves = experiments.run(load(path), tmp_path / "runs").metrics
    assert metrics["valid/loss"] > 1.3 * halves["valid/loss"]
    parts, names = ("train", "valid", "test"), ("loss", "accuracy", "error")
    assert set(halves) == {f"{part}/{name}" for part in parts for name in names}


@pytest.mark.parametrize(("squared", "by_hand"), [(False, (0 + 0.5 + 3 + 0) / 4), (True, (0 + 0.25 + 9 + 0) / 4)])
def test_the_hinge_of_one_score_by_hand(squared, by_hand):
    """Scores 2 and 0.5 for yes, 2 and -1 for no: 1 - 2 < 0, 1 - 0.5, 1 + 2, 1 - 1."""
    output, target = torch.tensor([[2.0], [0.5], [2.0], [-1.0]]), torch.tensor([[1.0], [1.0], [0.0], [0.0]])
    assert LOSSES["binary_hinge"](squared=squared).function()(output, target).item() == by_hand


def test_the_hinge_of_one_score_is_that_of_two_scores_0_and_z():
    """torch's multi-class hinge of the scores (0, z) is max(0, 1 - s z), halved by torch."""
    torch.manual_seed(1)
    z, target = torch.randn(9), torch.randint(2, (9,))
    twice = torch.stack([torch.zeros(9), z], 1)
    ours = LOSSES["binary_hinge"]().function()(z, target.float())
    torch.testing.assert_close(ours, 2 * F.multi_margin_loss(twice, target))


def test_a_linear_svm_separates_what_can_be_separated(tmp_path):
    path = tmp_path / "svm.yaml"
    text = spec(
        "{blobs: {train: 200, test: 100, std: 0.1, classes: 2}}",
        "{binary_classification: {loss: binary_hinge, l2: 1e-3, metrics: [auroc]}}",
        PLAIN.format(1),
    )
    path.write_text(text.replace("steps: 3", "epochs: 30"))
    metrics = experiments.run(load(path), tmp_path / "runs").metrics
    assert metrics["test/accuracy"] > 0.95
    assert metrics["test/auroc"] > 0.98


def test_the_hinge_of_classes_points_to_that_of_one_score():
    text = spec(
        "{synthetic: {shape: [4], classes: 2, train: 20}}", "{binary_classification: {loss: hinge}}", PLAIN.format(1)
    )
    with pytest.raises(SpecError) as error:
        experiments.prepare(experiment_of(text))
    assert "Use `loss: binary_hinge`" in str(error.value)


def test_a_sum_counts_once_where_batches_are_accumulated():
    objective = "{classification: {loss: {sum: {losses: [cross_entropy, {focal: {gamma: 1}}]}}}}"
    text = spec("{synthetic: {shape: [4], classes: 3, train: 40}}", objective, PLAIN.format(3))

    def after(text: str):
        experiment = experiment_of(text)
        made = experiments.prepare(experiment)
        job = session.job_of(made)
        for _ in updates(job, []):
            pass
        return job.network.get_parameter("linear_1.weight").detach()

    torch.testing.assert_close(after(text), after(text.replace("batch_size: 8", "batch_size: 2, accumulate: 4")))
