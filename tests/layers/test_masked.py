"""Masked layers: which weights count, by hand and by which outputs an input changes."""

import numpy as np
import pytest
import torch
from helpers import experiment_of
from sliding import built

from dlx.errors import ShapeError
from dlx.graph import trace
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def made(variables, order="natural", hidden=7, values=1):
    options = f"variables: {variables}, order: {order}"
    return f"""
dlx: 1
network:
  inputs: {{x: [{variables}]}}
  layers:
    - masked_linear: {{out_features: {hidden}, {options}}}
    - tanh
    - masked_linear: {{out_features: {hidden}, reads: hidden, {options}}}
    - tanh
    - masked_linear: {{out_features: {variables * values}, reads: hidden, gives: variables, {options}}}
"""


def changes(network, size, **options):
    """Which of the outputs (rows) each input (columns) changes, by the gradient in float64."""
    x = torch.randn(size, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda v: network(v.unsqueeze(0))[0], x) != 0


def test_the_masks_of_three_variables_and_four_units_are_those_by_hand():
    """Degrees of the inputs 1, 2, 3; of the units 1, 2, 1, 2; of the outputs 1, 2, 3."""
    first = LAYERS["masked_linear"].model_validate({"out_features": 4}).module(Shape((3,)))
    last = LAYERS["masked_linear"].model_validate(
        {"out_features": 3, "reads": "hidden", "gives": "variables", "variables": 3}
    )
    direct = LAYERS["masked_linear"].model_validate({"out_features": 3, "gives": "variables"})

    assert first.mask.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]]
    assert last.module(Shape((4,))).mask.tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]
    assert direct.module(Shape((3,))).mask.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize(("order", "values"), [("natural", 1), (3, 1), (5, 2)])
def test_what_is_given_for_a_variable_depends_on_all_before_it_and_on_no_other(order, values):
    torch.manual_seed(0)
    network = build(trace(experiment_of(made(5, order, hidden=16, values=values)))).double()
    place = np.arange(5) if order == "natural" else np.random.default_rng(order).permutation(5)
    wanted = np.repeat(place[None, :] < place[:, None], values, 0)

    assert np.array_equal(changes(network, 5).numpy(), wanted)


def test_without_its_mask_it_is_a_linear_layer():
    _, module = built("masked_linear", {"out_features": 6, "variables": 4}, (4,))
    module.mask.fill_(1)
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x), torch.nn.functional.linear(x, module.weight, module.bias))


@pytest.mark.parametrize("mask", ["A", "B"])
@pytest.mark.parametrize(("kernel", "size"), [(3, (6,)), ([3, 5], (4, 6)), (3, (3, 3, 3))])
def test_a_masked_convolution_sees_what_comes_before_row_by_row(mask, kernel, size):
    plan, module = built("masked_conv", {"out_channels": 2, "kernel_size": kernel, "mask": mask}, (1, *size))
    torch.nn.init.uniform_(module.weight, 0.5, 1)
    count = int(np.prod(size))
    x = torch.randn(1, 1, *size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: module(v)[0, 0].flatten(), x).reshape(count, count)
    place = np.stack(np.unravel_index(np.arange(count), size), 1)
    half = np.array(plan.weights["weight"][2:]) // 2
    near = (np.abs(place[:, None] - place[None]) <= half).all(-1)
    order = np.arange(count)
    before = order[None] <= order[:, None] if mask == "B" else order[None] < order[:, None]

    assert np.array_equal((jacobian != 0).numpy(), near & before)
    assert plan.shape == (2, *size)


@pytest.mark.parametrize(
    ("kind", "options", "shape", "sentence"),
    [
        ("masked_linear", {"out_features": 8, "reads": "hidden"}, (4,), "from how many variables they come"),
        (
            "masked_linear",
            {"out_features": 7, "reads": "hidden", "gives": "variables", "variables": 3},
            (4,),
            "masked_linear has 3 variables with as many values each, and out_features is 7",
        ),
        ("masked_linear", {"out_features": 7, "variables": 3}, (4,), "with as many values each, and (4,) has 4"),
        ("masked_linear", {"out_features": 7}, (1,), "masked_linear orders variables, and there is one"),
        ("masked_conv", {"out_channels": 2, "kernel_size": 4}, (1, 8, 8), "and (4, 4) has none"),
    ],
)
def test_what_does_not_fit_is_told(kind, options, shape, sentence):
    with pytest.raises(ShapeError) as refused:
        LAYERS[kind].model_validate(options).plan(Shape(shape))
    assert sentence in str(refused.value)
