"""Densities told variable by variable: they sum to one, samples follow them, and what looks ahead is refused."""

from itertools import product

import numpy as np
import pytest
import torch
from helpers import SHIPPED, experiment_of
from quality import bounds, unmet

from dlx.data.base import Field
from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.network import build
from dlx.objectives import OBJECTIVES, Ports, autoregressive
from dlx.shapes import Shape
from dlx.spec import load

KIND = OBJECTIVES["autoregressive"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def model(variables, levels=2, order="natural", of_class=False):
    """An objective, and a call of a network with large random weights, so that no probability is near one half."""
    values = 1 if levels == 2 else levels
    turn = "" if levels == 2 else f"\n    - reshape: [{variables}, {levels}]\n    - permute: [2, 1]"
    spec = f"""
dlx: 1
network:
  inputs: {{x: [{variables}]}}
  layers:
    - {{masked_linear: {{out_features: 24, order: {order}}}, from: x}}
    - tanh
    - masked_linear:
        {{out_features: {variables * values}, reads: hidden, gives: variables, variables: {variables},
          order: {order}}}{turn}
"""
    network = build(trace(experiment_of(spec))).eval()
    torch.manual_seed(4)
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    of_each = torch.randn(3, variables)  # what a class adds to the logits
    shape = Shape((variables,))
    fields = {"input": Field(shape), "target": Field(Shape((), "int"), "target", classes=3)}
    ports = Ports({"x": shape} | ({"label": Shape((), "int")} if of_class else {}), {"y": shape})
    objective = KIND.model_validate({"levels": levels, "order": order}).informed(fields, {"network": ports})

    def call(name, x, label=None):
        with torch.no_grad():
            return network(x) if label is None else network(x) + of_each[label]

    return objective, call


def sharp(variables):
    """One whose variables depend on each other so much that what stands behind a missing one counts."""
    objective, _ = model(variables)
    torch.manual_seed(1)
    weights = torch.randn(variables, variables).tril(-1)

    return objective, lambda name, x: (2 * x - 1) @ weights.T


def all_examples(variables, levels):
    return torch.tensor(list(product(range(levels), repeat=variables))).float() / (levels - 1)


@pytest.mark.parametrize(
    ("variables", "levels", "order"), [(8, 2, "natural"), (8, 2, 3), (4, 3, "natural"), (3, 17, 1)]
)
def test_the_probabilities_of_all_examples_sum_to_one(variables, levels, order):
    objective, call = model(variables, levels, order)
    p = objective.log_likelihood(call, all_examples(variables, levels)).double().exp()

    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert float(p.std()) > 0.1 / len(p)  # they are not all alike


def test_without_masks_they_do_not():
    objective, _ = model(6)
    torch.manual_seed(0)
    free = torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.Tanh(), torch.nn.Linear(24, 6)).requires_grad_(False)
    for weight in free.parameters():
        torch.nn.init.normal_(weight)
    p = objective.log_likelihood(lambda _, x: free(x), all_examples(6, 2)).exp()
    assert abs(float(p.sum()) - 1) > 0.05


def test_the_probability_given_a_class_sums_to_one_for_each_and_differs():
    objective, call = model(6, of_class=True)
    x = all_examples(6, 2)
    each = [objective.log_likelihood(call, x, torch.full((len(x),), y)).double().exp() for y in range(3)]
    assert [float(p.sum()) for p in each] == pytest.approx([1, 1, 1], abs=1e-5)
    assert float((each[0] - each[1]).abs().max()) > 1e-2
    assert objective.condition == "target"
    assert model(6)[0].condition is None


@pytest.mark.parametrize(("levels", "order"), [(2, "natural"), (2, 3), (3, "natural")])
def test_samples_follow_the_probabilities(levels, order):
    objective, call = model(3, levels, order)
    p = objective.log_likelihood(call, all_examples(3, levels)).exp().numpy()
    drawn = objective.sample(call, 20_000, rng())
    digits = (drawn * (levels - 1)).round().long() @ torch.tensor([levels**2, levels, 1])
    share = np.bincount(digits, minlength=len(p)) / len(drawn)

    assert np.abs(share - p).max() < 4 * np.sqrt(0.25 / len(drawn))
    assert np.abs(np.roll(share, 1) - p).max() > 0.05


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_missing_is_drawn_given_what_stands_before_and_behind_it(exact, monkeypatch):
    """Of five variables the first, third and fourth are missing; by Bayes' rule over all that agree with the rest."""
    objective, call = sharp(5)
    if not exact:
        monkeypatch.setattr(autoregressive, "COMPLETIONS", 2)
        objective = objective.model_copy(update={"sweeps": 30})
    given = torch.tensor([[float("nan"), 1, float("nan"), float("nan"), 0]])
    x = all_examples(5, 2)
    agree = x[(x[:, 1] == 1) & (x[:, 4] == 0)]
    p = objective.log_likelihood(call, agree).softmax(0).numpy()
    drawn = objective.complete(call, given.repeat(1500, 1), rng())
    assert (drawn[:, 1] == 1).all()
    assert (drawn[:, 4] == 0).all()
    numbers = drawn[:, [0, 2, 3]].long() @ torch.tensor([4, 2, 1])
    share = np.bincount(numbers, minlength=8) / len(drawn)

    assert np.abs(share - p).max() < 4 * np.sqrt(0.25 / len(drawn))
    # from those before it alone, the last one would not count
    ahead = objective.log_likelihood(call, x[x[:, 1] == 1]).exp().reshape(2, 2, 2, 2).sum(-1).flatten().numpy()
    assert np.abs(ahead / ahead.sum() - p).max() > 0.1


def test_values_are_rounded_to_the_nearest_level_and_bits_are_of_base_two():
    objective, call = model(4, 3)
    assert objective.rounded(torch.tensor([0.1, 0.3, 0.74, 0.76])).tolist() == [0, 0.5, 0.5, 1]
    x = torch.rand(9, 4, generator=rng())
    found = objective.evaluate(call, Batch({"input": x}), rng())
    nats = objective.log_likelihood(call, objective.rounded(x)).mean()
    torch.testing.assert_close(found["log_likelihood"], nats)
    assert float(objective.terms("train", call, Batch({"input": x}), rng())["nll"]) == pytest.approx(-float(nats))
    assert objective.measured({"log_likelihood": -4 * np.log(2)})["bits_per_dim"] == pytest.approx(1)


SPEC = """
dlx: 1
name: a
data: {digits: {train: 100, valid: 20, test: 20}}
network:
  layers:
    - flatten
    - masked_linear: {out_features: 16, order: 2}
    - relu
    - masked_linear: {out_features: 64, reads: hidden, gives: variables, variables: 64, order: 2}
    - reshape: [1, 8, 8]
objective: {autoregressive: {order: 2}}
train: {steps: 6, batch_size: 20, device: cpu, optimizer: {adam: 1e-2}}
track: {mlflow: false}
"""


def run(folder, *changes):
    file = folder / "a.yaml"
    file.write_text(SPEC)
    return runner.run(load(file, list(changes)), folder / "runs").results[0].metrics


def test_a_spec_trains_in_the_order_that_it_names(tmp_path):
    metrics = run(tmp_path)
    assert metrics["test/log_likelihood"] > -64 * np.log(2)
    assert metrics["test/bits_per_dim"] == pytest.approx(-metrics["test/log_likelihood"] / 64 / np.log(2))


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            "objective.autoregressive.order=natural",
            ["the network is not autoregressive: another value of variable", "in `order: natural`", "a.yaml:5:"],
        ),
        (
            "network.layers=[flatten, {linear: 64}, {reshape: [1, 8, 8]}]",
            ["another value of variable 0 changes what it gives for variable", "in `order: 2`"],
        ),
        (
            "network.layers=[{masked_conv: {out_channels: 1, kernel_size: 3}}]",
            ["another value of variable 0 changes what it gives for variable 0, which is the same"],
        ),
        (
            "network.layers=[flatten, {masked_linear: {out_features: 64, gives: variables}}]",
            ["the network ends in (64,), and autoregressive takes (1, 8, 8), one logit for each value of (1, 8, 8)"],
        ),
        (
            "+objective.autoregressive.levels=17",
            ["the network ends in (1, 8, 8), and autoregressive takes (17, 1, 8, 8), 17 logits"],
        ),
        (
            "+data.digits.standardize=all",
            ["autoregressive rounds values from 0 to 1, and `input` has -"],
        ),
    ],
)
def test_what_does_not_fit_is_told_before_training(tmp_path, change, sentences):
    with pytest.raises(SpecError) as refused:
        run(tmp_path, change)
    assert [one for one in sentences if one not in str(refused.value)] == []


# --- the specs of the zoo -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_made_beats_logistic_regressions_of_each_pixel_and_units_that_see_one_pixel_do_not(tmp_path, seed):
    found = runner.run(load(SHIPPED["zoo/made"], [f"train.seed={seed}", "track.mlflow=false"]), tmp_path).results[0]
    assert not unmet("zoo/made", found.metrics)
    twin = ["vars.hidden=1", "train.steps=1040", "track.mlflow=false", "~expect"]
    if not seed:
        metrics = runner.run(load(SHIPPED["zoo/made"], twin), tmp_path).results[0].metrics
        assert metrics["test/log_likelihood"] < bounds("zoo/made")["test/log_likelihood"]["at_least"] - 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixelcnn_beats_a_tree_of_pixels_and_one_whose_first_layer_sees_nothing_does_not(tmp_path, seed):
    plain = [f"train.seed={seed}", "track.mlflow=false"]
    assert not unmet("zoo/pixelcnn", runner.run(load(SHIPPED["zoo/pixelcnn"], plain), tmp_path).results[0].metrics)
    if not seed:
        blind = ["network.layers.masked_conv_1.kernel_size=1", "vars.depth=1", "train.steps=204", "~expect"]
        twin = runner.run(load(SHIPPED["zoo/pixelcnn"], [*plain, *blind]), tmp_path).results[0].metrics
        assert twin["test/log_likelihood"] < bounds("zoo/pixelcnn")["test/log_likelihood"]["at_least"] - 2
