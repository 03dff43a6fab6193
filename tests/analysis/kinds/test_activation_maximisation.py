"""Inputs that make units active: of a linear unit the greatest activation of a norm is known."""

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.kinds.activation_maximisation import ActivationMaximisation
from dlx.analysis.measures.input_space import space_of
from dlx.analysis.subject import of_run, of_spec

CHAIN = """
name: chain
init: he_normal
network:
  inputs: [1, 8, 8]
  layers:
    - conv: {out_channels: 3, kernel_size: 3, padding: 1, bias: false}
    - relu
    - flatten
    - linear: 2
"""


def test_a_linear_unit_is_most_active_at_its_weights(linear_run):
    """norm ||w|| + b, Cauchy and Schwarz; no input of the data, nor noise, of that norm comes near it."""
    subject = of_run(linear_run)
    found = ActivationMaximisation(steps=60).run(subject)
    space, layer = space_of(subject), subject.network().linear_1
    weights = layer.weight.detach().view(10, 1, 8, 8) / space.scale
    bias = layer.bias.detach() - (weights * space.shift).flatten(1).sum(1)
    by_hand = space.norm * weights.flatten(1).norm(dim=1) + bias

    made = torch.tensor([row[1] for row in found.table[1]])
    assert torch.allclose(made, by_hand, rtol=1e-3)
    assert found.figures["noise_activation"] < found.figures["data_activation"] < found.figures["activation"]
    assert found.figures["ratio"] > 1.2


def test_a_unit_of_maps_is_its_filter_in_the_middle():
    """The largest of w.x over a patch is norm ||w||, and it lies in the middle; that of a mean spreads over all."""
    subject = of_spec(experiment_of(CHAIN))
    center = ActivationMaximisation(layer="conv_1", norm=2, steps=60).run(subject)
    mean = ActivationMaximisation(layer="conv_1", norm=2, steps=60, position="mean").run(subject)
    weights = subject.network().conv_1.weight.detach()

    assert [row[1] for row in center.table[1]] == pytest.approx(2 * weights.flatten(1).norm(dim=1), rel=1e-3)
    assert mean.figures["activation"] < center.figures["activation"]


def test_inputs_made_for_a_class_show_it_once_the_network_has_learned_it(digits_run, linear_run, untrained_run):
    """Five standard errors of chance over ten inputs of 64 values are 0.2; hidden units stand for no class."""
    kind = ActivationMaximisation(steps=60)
    trained, linear, untrained = (kind.run(of_run(run)).figures for run in (digits_run, linear_run, untrained_run))

    assert min(trained["class_correlation"], linear["class_correlation"]) > 0.2
    assert abs(untrained["class_correlation"]) < 0.2
    assert "class_correlation" not in ActivationMaximisation(layer="conv_1").run(of_run(digits_run)).figures


def test_smoothness_costs_activation(digits_run):
    subject = of_run(digits_run)
    rough, smooth = (ActivationMaximisation(units=[0], smoothness=s).run(subject).figures for s in (0, 1000))

    assert smooth["activation"] < rough["activation"]


def test_layers_and_units_that_are_not_there(digits_run):
    subject = of_run(digits_run)

    (problem,) = ActivationMaximisation(units=[9, 10]).problems(subject)
    assert problem.message == "`linear_1` has no unit 10: it has 10"
    assert "Did you mean `conv_1`" in ActivationMaximisation(layer="conv1").problems(subject)[0].hint
