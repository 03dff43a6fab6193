"""SimCLR: NT-Xent by loops, its gradient, its metrics; views of training and evaluation; probe against scratch."""

import math

import numpy as np
import pytest
import torch
from cut_off import assert_it_goes_on
from helpers import SHIPPED
from quality import bounds
from scipy.stats import ttest_rel
from torch.nn.functional import normalize

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives import OBJECTIVES
from dlx.spec import load

KIND = OBJECTIVES["simclr"]
SPEC = """
dlx: 1
name: s
data: {synthetic: {shape: [2, 5, 5], classes: 3, train: 48, valid: 12}}
network: {layers: [flatten, {linear: 8}, relu, {linear: 4}]}
objective: {simclr: {temperature: 0.3}}
train:
  epochs: 3
  batch_size: 8
  optimizer: {adam: 1e-2}
  evaluate_every: 2
  log_every: 1
  augment: [{crop: 4}, {gaussian_noise: 0.1}]
  device: cpu
track: {mlflow: false}
"""


def measured(method, first, second, **options):
    """Call a method with a network whose outputs these are."""
    views = torch.stack([first, second], 1)
    one, batch = KIND(**options), Batch({"input": first, "input/views": views})
    found = getattr(one, method)(*["train"] * (method == "terms"), lambda _, x: x, batch, torch.Generator())
    return one, found


def by_loops(first, second, temperature):
    """Equation 1 of the paper, term by term, in numpy."""
    z = np.concatenate([first, second])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n, losses = len(first), []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = sum(math.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        losses.append(-math.log(math.exp(z[i] @ z[j] / temperature) / others))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2])
def test_the_loss_is_equation_1_by_loops(temperature):
    first, second = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, found = measured("terms", first, second, temperature=temperature)
    expected = by_loops(first.numpy(), second.numpy(), temperature)
    assert float(found["nt_xent"]) == pytest.approx(expected, rel=1e-12)
    _, found = measured("evaluate", first, second, temperature=temperature)
    assert float(found["loss"][0]) == pytest.approx(expected, rel=1e-12)


def test_orthogonal_pairs_by_hand():
    """Two pairs of equal views at right angles: each view has one neighbour at 1, and two at 0."""
    pair = torch.eye(2)
    _, found = measured("terms", pair, pair, temperature=1)
    assert float(found["nt_xent"]) == pytest.approx(math.log(math.e + 2) - 1)
    one, found = measured("evaluate", pair, pair)
    assert float(found["accuracy"][0]) == 1
    assert float(found["alignment"][0]) == 0
    assert one.measured({"uniformity": float(found["uniformity"][0])})["uniformity"] == pytest.approx(-2 * 2)


def test_gradients_agree_with_differences():
    first, second = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first.requires_grad_()

    def loss(x):
        return measured("terms", x, second)[1]["nt_xent"]

    assert torch.autograd.gradcheck(loss, (first,))


def test_what_has_collapsed_has_the_accuracy_of_chance_and_no_uniformity():
    same = normalize(torch.ones(60, 4), dim=1)
    one, found = measured("evaluate", same, same)
    assert float(found["loss"][0]) == pytest.approx(math.log(119), rel=1e-5)
    assert float(found["accuracy"][0]) < 0.05
    assert one.measured({"uniformity": float(found["uniformity"][0])})["uniformity"] == pytest.approx(0, abs=1e-5)


def test_figures_of_an_evaluation_do_not_depend_on_how_it_is_cut():
    first, second = torch.randn(2, 128, 3, generator=torch.Generator().manual_seed(1))
    _, whole = measured("evaluate", first, second)
    _, one = measured("evaluate", first[:64], second[:64])
    _, other = measured("evaluate", first[64:], second[64:])
    for name, (mean, count) in whole.items():
        parts = sum(float(part[name][0]) * int(part[name][1]) for part in (one, other))
        assert parts / int(count) == pytest.approx(float(mean), rel=1e-5)


def records(folder, *changes):
    (folder / "s.yaml").write_text(SPEC)
    result = runner.run(load(folder / "s.yaml", changes), folder / "runs").results[0]
    return [record["metrics"] for record in result.run.records() if "metrics" in record]


def test_views_are_drawn_anew_in_training_and_are_the_same_in_each_evaluation(tmp_path):
    """The weights stand still, and so only the views change."""
    found = records(tmp_path, "train.optimizer={sgd: 1e-20}", "train.batch_size=all", "train.epochs=6")
    evaluated = {one["valid/loss"] for one in found if "valid/loss" in one}
    steps = [one["train/train/nt_xent"] for one in found if "train/train/nt_xent" in one]
    assert len(evaluated) == 1
    assert len(set(steps)) == len(steps) == 6


def test_an_evaluation_takes_nothing_from_the_draws_of_the_training(tmp_path):
    often = records(tmp_path, "train.evaluate_every=1")
    seldom = records(tmp_path, "train.evaluate_every=6")
    curves = [
        [one["train/train/nt_xent"] for one in some if "train/train/nt_xent" in one] for some in (often, seldom)
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("~train.augment", "simclr compares 2 views of an example, and without `augment` they are equal"),
        ("+train.accumulate=2", "its loss compares all examples of a batch, which `accumulate` cuts in pieces"),
        ("train.batch_size=1", "simclr tells an example from the others of its batch, and `batch_size` is 1"),
        ("train.augment=[cutmix]", "cutmix mixes targets, and simclr learns none"),
        ("objective.simclr.temperature=0", "`temperature` must be above 0, not 0"),
        ("+train.test_time=horizontal_flip", "`test_time` is for inputs with targets"),
        ("+objective.simclr.field=image", "simclr wants `image`"),
        ("+network.outputs={a: relu_1, b: linear_2}", "a network with one input and one output"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path, change, sentence):
    (tmp_path / "s.yaml").write_text(SPEC)
    with pytest.raises(SpecError) as raised:
        runner.prepare(load(tmp_path / "s.yaml", [change]))
    assert sentence in str(raised.value)


@pytest.mark.parametrize("change", ["~train.augment", "train.batch_size=1"])
def test_inspect_tells_that_nothing_can_be_compared(tmp_path, change):
    (tmp_path / "s.yaml").write_text(SPEC)
    with pytest.raises(SpecError) as raised:
        trace_all(load(tmp_path / "s.yaml", [change]))
    (problem,) = raised.value.problems
    assert problem.path in {"train.augment", "train.batch_size"}
    assert trace_all(
        load(tmp_path / "s.yaml", [change, "objective=rotation", "network.layers.linear_1.linear=4"])
    ).one


@pytest.mark.parametrize("objective", ["simclr", "rotation"])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path, objective):
    (tmp_path / "s.yaml").write_text(SPEC)
    experiment = load(tmp_path / "s.yaml", [f"objective={objective}", "+train.save_every=1"])
    assert_it_goes_on(experiment, tmp_path / "runs")


@pytest.mark.slow
def test_views_help_to_tell_classes_from_few_labels(tmp_path):
    def accuracies(*changes):
        results = runner.run(load(SHIPPED["zoo/simclr"], ["track.mlflow=false", *changes]), tmp_path).results
        return [one.metrics["test/accuracy"] for one in results]

    found, least = accuracies(), bounds("zoo/simclr")["test/accuracy"]["at_least"]
    assert np.mean(found) >= least
    # the same changes of the labelled digits, and no others; and a trunk that has learned nothing
    scratch = accuracies("~stages.pretrain", "~stages.probe", f"+train.augment={AUGMENT}")
    assert ttest_rel(found, scratch).confidence_interval(0.95).low > 0
    assert np.mean(accuracies("stages.pretrain.train.optimizer={sgd: 1e-20}")) < least


AUGMENT = "[{affine: {degrees: 20, translate: 0.1, scale: [0.8, 1.2]}}, {gaussian_noise: 0.1}]"
"""What `zoo/simclr` changes."""
