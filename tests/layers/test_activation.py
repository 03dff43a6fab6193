"""What activations compute, at the points where the books give them."""

import pytest
import torch
from helpers import network_of
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape

POINTS = torch.tensor([[-3.0, -1.0, 0.0, 1.0, 3.0]])


def made(kind, x, **options):
    return LAYERS[kind].model_validate(options).module(Shape(x))


def at_points(kind, **options):
    return made(kind, (5,), **options)(POINTS)[0].tolist()


def refused(kind, x, **options):
    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind].model_validate(options).plan(Shape(x))
    problem = refusal.value.problem_for([str(Shape(x))])
    return problem.message, problem.hint


@pytest.mark.parametrize(
    ("kind", "options", "values"),
    [
        ("hardswish", {}, [0, -1 / 3, 0, 2 / 3, 3]),
        ("leaky_relu", {"negative_slope": 0.1}, [-0.3, -0.1, 0, 1, 3]),
        ("prelu", {}, [-0.75, -0.25, 0, 1, 3]),
        ("swish", {"init": 0.4}, [-0.6944256, -0.4013123, 0, 0.5986877, 2.3055744]),
        ("swish", {"init": 1.4}, [-0.0443221, -0.1978161, 0, 0.8021839, 2.9556779]),
        ("heaviside", {}, [0, 0, 1, 1, 1]),
        ("heaviside", {"at_zero": 0.5}, [0, 0, 0.5, 1, 1]),
        ("sign", {}, [-1, -1, 0, 1, 1]),
        ("sign", {"at_zero": 1}, [-1, -1, 1, 1, 1]),
        ("rect", {}, [0, 0, 1, 1, 0]),
        ("sigmoid", {}, [0.0474259, 0.2689414, 0.5, 0.7310586, 0.9525741]),
        ("softplus", {}, [0.0485874, 0.3132617, 0.6931472, 1.3132617, 3.0485874]),
        ("tanh", {}, [-0.9950548, -0.7615942, 0, 0.7615942, 0.9950548]),
        ("crelu", {}, [0, 0, 0, 1, 3, 3, 1, 0, 0, 0]),
        ("crelu", {"form": "book"}, [0, 0, 0, 1, 3, -3, -1, 0, 0, 0]),
        ("maxout", {"pieces": 5}, [3]),
        ("maxout", {"pieces": 1}, [-3, -1, 0, 1, 3]),
    ],
)
def test_activations_have_the_values_of_the_books(kind, options, values):
    assert at_points(kind, **options) == pytest.approx(values, abs=1e-6)


def test_swish_with_beta_one_is_silu_and_halves_at_zero():
    x = torch.randn(50, 5)

    torch.testing.assert_close(made("swish", (5,))(x), F.silu(x))
    torch.testing.assert_close(made("swish", (5,), init=0)(x), x / 2)


@pytest.mark.parametrize("size", [(), (6,), (6, 5), (2, 6, 5)])
def test_swish_learns_a_beta_for_each_channel(size):
    swish = made("swish", (3, *size), num_parameters=3)
    with torch.no_grad():
        swish.beta.copy_(torch.tensor([0.0, 1.0, 100.0]))
    x = torch.randn(4, 3, *size)
    y = swish(x)

    torch.testing.assert_close(y[:, 0], x[:, 0] / 2)
    torch.testing.assert_close(y[:, 1], F.silu(x[:, 1]))
    torch.testing.assert_close(y[:, 2], x[:, 2] * torch.sigmoid(100 * x[:, 2]))
    y.sum().backward()
    assert swish.beta.grad.shape == (3,)


@pytest.mark.parametrize("kind", ["heaviside", "sign", "rect"])
def test_a_step_hands_back_a_gradient_of_zero(kind):
    x = POINTS.clone().requires_grad_()
    made(kind, (5,))(x).sum().backward()

    assert x.grad.tolist() == [[0.0] * 5]


def test_a_step_of_infinity_is_a_number():
    x = torch.tensor([[-torch.inf, torch.inf]])

    assert made("heaviside", (2,))(x).tolist() == [[0, 1]]
    assert made("sign", (2,))(x).tolist() == [[-1, 1]]
    assert made("rect", (2,))(x).tolist() == [[0, 0]]


@pytest.mark.parametrize(("weights", "bias", "table"), [([1, 1], -1.5, [0, 0, 0, 1]), ([1, 1], -0.5, [0, 1, 1, 1])])
def test_a_perceptron_is_and_or_or(weights, bias, table):
    network = build(network_of("[2]", f"- {{linear: 1, values: {{weight: [{weights}], bias: {bias}}}}}\n- heaviside"))

    assert network(torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])).flatten().tolist() == table


@pytest.mark.parametrize("dim", [1, -1])
def test_crelu_doubles_an_axis_and_loses_nothing(dim):
    x = torch.randn(2, 3, 4)
    for form, sign in (("paper", -1), ("book", 1)):
        positive, negative = made("crelu", (3, 4), form=form, dim=dim)(x).chunk(2, dim)
        torch.testing.assert_close(positive + sign * negative, x)


def test_maxout_takes_the_largest_of_neighbouring_channels():
    x = torch.tensor([[[1.0, 8.0], [2.0, 7.0], [-3.0, 6.0], [-4.0, 5.0]]])

    assert made("maxout", (4, 2))(x).tolist() == [[[2, 8], [-3, 6]]]
    assert made("maxout", (4, 2), dim=2)(x).tolist() == [[[8], [7], [6], [5]]]


def test_a_maxout_unit_is_the_largest_of_its_own_sums():
    torch.manual_seed(0)
    linear, x = nn.Linear(5, 2 * 3), torch.randn(4, 5)
    (first, second) = (F.linear(x, linear.weight[i::2], linear.bias[i::2]) for i in (0, 1))

    torch.testing.assert_close(made("maxout", (6,))(linear(x)), torch.maximum(first, second))


def test_maxout_of_x_and_nothing_is_relu_and_of_x_and_a_slope_is_leaky_relu():
    x = torch.randn(20)
    for slope, by_hand in ((0.0, F.relu(x)), (0.01, F.leaky_relu(x, 0.01))):
        torch.testing.assert_close(made("maxout", (2,))(torch.stack([x, slope * x], 1))[:, 0], by_hand)


@pytest.mark.parametrize("size", [(), (4,), (4, 5)])
def test_each_unit_goes_through_its_own_activation(size):
    x = torch.randn(6, 3, *size)
    y = made("per_unit", (3, *size), activations=["relu", {"leaky_relu": 0.1}, "sigmoid"])(x)

    by_hand = torch.stack([F.relu(x[:, 0]), F.leaky_relu(x[:, 1], 0.1), x[:, 2].sigmoid()], 1)
    torch.testing.assert_close(y, by_hand)


def test_units_may_be_the_features_of_each_token():
    layer, x = LAYERS["per_unit"](activations=["relu", "tanh"], dim=-1), torch.randn(5, 7, 2)

    torch.testing.assert_close(layer.module(Shape((7, 2)))(x), torch.stack([x[..., 0].relu(), x[..., 1].tanh()], -1))


def test_the_weights_of_each_unit_s_activation_have_its_number():
    layer, x = LAYERS["per_unit"](activations=["prelu", "relu", "swish"]), Shape((3, 4))

    assert dict(layer.plan(x).weights) == {"0.weight": (1,), "2.beta": (1,)}
    assert {name for name, _ in layer.module(x).named_parameters()} == {"0.weight", "2.beta"}


def test_what_does_not_fit_is_refused_with_a_way_out():
    assert refused("maxout", (7, 5), pieces=3) == (
        "maxout takes 3 values at a time, and the 7 on axis 1 of (7, 5) do not come out even",
        "Give the layer before 3 times as many as you want to have.",
    )
    assert refused("swish", (4, 5), num_parameters=3) == (
        "swish has num_parameters = 3 betas for the 4 channels of (4, 5)",
        "Give 1, or 4: `${x.channels}`.",
    )
    assert refused("per_unit", (3,), activations=["relu", "tanh"]) == (
        "per_unit has 2 activations for the 3 units on axis 1 of (3,)",
        "Give one for each unit; `identity` leaves one as it is.",
    )
    for kind in ("softmax", "batch_norm", "flatten", "crelu", "add", {"linear": 1}):
        name = kind if isinstance(kind, str) else "linear"
        assert refused("per_unit", (2, 4), activations=["relu", kind]) == (
            f"per_unit gives each unit to an activation of its own, and {name} does not work on each value by itself",
            "Name activations such as relu, tanh or sigmoid.",
        )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("crelu", {"form": "shang"}),
        ("maxout", {"pieces": 0}),
        ("per_unit", {"activations": []}),
        ("per_unit", {}),
        ("per_unit", {"activations": ["rleu"]}),
        ("swish", {"num_parameters": 0}),
    ],
)
def test_fields_outside_their_bounds_are_refused(kind, options):
    with pytest.raises(ValidationError):
        LAYERS[kind].model_validate(options)
