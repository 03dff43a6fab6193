"""Merges beyond the sum, and gates: values by hand or by torch's formula, and what they refuse."""

import pytest
import torch
import torch.nn.functional as F
from helpers import contradiction, network_of, refusal

from dlx.init.he import HeNormal
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def made(kind, *values, **options):
    return LAYERS[kind].model_validate(options).module(*(Shape(v.shape[1:]) for v in values))


def run(kind, *values, **options):
    return made(kind, *values, **options)(*values)


A, B, C = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -5.0]]), torch.tensor([[8.0, 0.0]])


def test_merges_by_hand():
    assert run("subtract", A, B).tolist() == [[-2, 7]]
    assert run("average", A, B, C).tolist() == [[4, -1]]
    assert run("maximum", A, B, C).tolist() == [[8, 2]]
    assert run("weighted_add", A, B).tolist() == [[4, -3]]
    assert run("weighted_add", A, B, C, weights=[2, 1, -1]).tolist() == [[-3, -1]]
    assert run("gate", A, B, torch.tensor([[0.25, 1.0]])).tolist() == [[1.5, -5]]


def test_learned_weights_begin_as_given_and_move():
    module = made("weighted_add", A, B, weights=[1, 0], learned=True)
    y = module(A, B)
    y.sum().backward()

    assert y.tolist() == A.tolist()
    assert module.weight.grad.tolist() == [3, -2]


def test_merges_stretch_a_single_position():
    image, one = torch.ones(1, 2, 3, 3), torch.full((1, 2, 1, 1), 3.0)

    assert run("average", image, one).unique().tolist() == [2]
    assert run("maximum", one, image).shape == (1, 2, 3, 3)
    assert LAYERS["gate"]().plan(Shape((2, 3)), Shape((2, 3)), Shape((1, 3))).shape == (2, 3)


def test_maxout_over_branches_is_the_largest_of_them():
    layers = "- parallel: {branches: [[{linear: 3}], [{linear: 3}], [{linear: 3}]], merge: maximum}"
    network, x = build(network_of("[5]", layers)), torch.randn(4, 5)

    three = torch.stack([getattr(network, f"linear_{i}")(x) for i in (1, 2, 3)])

    assert torch.equal(network(x), three.amax(0))


@pytest.mark.parametrize(
    ("a", "b", "macs"),
    [
        ((3, 5, 4), (3, 4, 6), 360),
        ((5, 4), (4, 6), 120),
        ((1, 5, 4), (3, 4, 6), 360),
        ((2, 3, 5, 4), (2, 1, 4, 6), 720),
    ],
)
def test_matmul_multiplies_the_last_two_axes(a, b, macs):
    x, y = torch.randn(2, *a), torch.randn(2, *b)
    plan = LAYERS["matmul"]().plan(Shape(a), Shape(b))

    assert run("matmul", x, y).shape[1:] == plan.shape
    torch.testing.assert_close(run("matmul", x, y), torch.matmul(x, y))
    assert plan.macs == macs


# --- highway --------------------------------------------------------------------------------------------------------


def test_a_highway_layer_is_equation_3_of_the_paper():
    x, h = torch.randn(4, 6), torch.randn(4, 6)
    module = made("highway", x, h, initial_bias=-2)
    t = torch.sigmoid(F.linear(x, module.weight, module.gate_bias))

    torch.testing.assert_close(module(x, h), h * t + x * (1 - t))
    assert (module.gate_bias == -2).all()


@pytest.mark.parametrize(("size", "conv"), [((9,), F.conv1d), ((5, 5), F.conv2d), ((3, 4, 5), F.conv3d)])
def test_the_gate_of_a_highway_layer_is_a_convolution_where_there_are_positions(size, conv):
    x, h = torch.randn(2, 3, *size), torch.randn(2, 3, *size)
    plan = LAYERS["highway"](kernel_size=3).plan(Shape((3, *size)), Shape((3, *size)))
    module = made("highway", x, h, kernel_size=3)
    t = torch.sigmoid(conv(x, module.weight, module.gate_bias, padding=1))

    torch.testing.assert_close(module(x, h), h * t + x * (1 - t))
    assert dict(plan.weights) == {"weight": (3, 3, *(3,) * len(size)), "gate_bias": (3,)}
    assert plan.macs == 3 * 3 * 3 ** len(size) * torch.Size(size).numel()


def test_a_highway_block_starts_by_carrying_its_input_whatever_the_init():
    layers = "- residual: {layers: [{linear: 50}, relu], merge: {highway: {initial_bias: -20}}}"
    network, x = build(network_of("[50]", layers), HeNormal()), torch.randn(4, 50)

    torch.testing.assert_close(network(x), x, atol=1e-4, rtol=0)


# --- squeeze and excitation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(9,), (5, 6), (2, 3, 4)])
@pytest.mark.parametrize(
    ("activation", "gate"), [("relu", "sigmoid"), ("silu", "hardsigmoid"), ("hardswish", "sigmoid")]
)
def test_squeeze_and_excitation_is_the_formula_of_the_paper(size, activation, gate):
    x = torch.randn(2, 8, *size)
    se = made("squeeze_excitation", x, squeeze_channels=3, activation=activation, gate=gate)
    w1, w2 = se.fc1.weight.flatten(1), se.fc2.weight.flatten(1)
    z = x.flatten(2).mean(2)
    s = getattr(F, gate)(getattr(F, activation)(z @ w1.T + se.fc1.bias) @ w2.T + se.fc2.bias)

    torch.testing.assert_close(se(x), x * s.view(2, 8, *(1,) * len(size)))


@pytest.mark.parametrize(
    ("options", "squeezed"), [({}, 4), ({"reduction": 4}, 16), ({"squeeze_channels": 5}, 5), ({"reduction": 100}, 1)]
)
def test_the_squeezed_channels_are_given_or_a_part_of_the_others(options, squeezed):
    plan = LAYERS["squeeze_excitation"](**options).plan(Shape((64, 7, 7)))

    assert plan.weights["fc1.weight"] == (squeezed, 64, 1, 1)
    assert plan.params == 2 * 64 * squeezed + squeezed + 64
    assert LAYERS["squeeze_excitation"](**options, bias=False).plan(Shape((64, 7))).params == 2 * 64 * squeezed


def test_squeeze_and_excitation_sees_everything_and_keeps_positions():
    graph = network_of("[4, 9, 9]", "- conv: {out_channels: 4, kernel_size: 3}\n- squeeze_excitation: 2")

    assert graph.receptive_field == "global"
    assert graph.nodes[-1].inputs_with_positions


# --- refusals -------------------------------------------------------------------------------------------------------

REFUSED = [
    (
        ("subtract", {}, [(8, 5), (4, 5)]),
        "subtract joins (8, 5) with (4, 5): channels 8 and 4 differ",
        "`conv: {out_channels: 8, kernel_size: 1}` brings the second to 8 channels.",
    ),
    (
        ("weighted_add", {"weights": [1, 2]}, [(8,), (8,), (8,)]),
        "weighted_add has 2 weights, and 3 inputs come in",
        "Give one weight for each input, in their order.",
    ),
    (
        ("matmul", {}, [(5, 4), (6, 4)]),
        "matmul multiplies (5, 4) by (6, 4): rows of 4 values do not fit columns of 6",
        (
            "The last axis of the first and the one before the last of the second must agree. "
            "`- transpose` the second first."
        ),
    ),
    (
        ("matmul", {}, [(5, 4), (4,)]),
        "matmul wants two matrices, or two stacks of them, and is given (5, 4) and (4,)",
        "`- reshape` gives a vector a second axis of 1; both need as many axes.",
    ),
    (
        ("highway", {}, [(50,), (40,)]),
        "highway mixes (50,), which came in, with (40,): they must be alike",
        "Let the layers keep the shape, or give the other way a `shortcut` that changes it too.",
    ),
    (
        ("squeeze_excitation", {}, [(8,)]),
        "squeeze_excitation slides over positions, and (8,) has none",
        (
            "It wants (channels, length), (channels, height, width) or (channels, depth, height, width); "
            "`- reshape: [1, -1]` makes one from a vector."
        ),
    ),
]


@pytest.mark.parametrize(("case", "message", "hint"), REFUSED, ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_inputs_that_do_not_fit_are_refused_with_a_way_out(case, message, hint):
    assert refusal(*case) == (message, hint)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("weighted_add", {"weights": [1]}, "`weights` holds one number for each input, two or more, not [1.0]"),
        (
            "squeeze_excitation",
            {"squeeze_channels": 4, "reduction": 4},
            "`squeeze_excitation` takes `squeeze_channels` or `reduction`, not both",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(kind, options, sentence):
    assert contradiction(kind, options) == sentence


def test_a_kernel_of_a_highway_on_a_vector_is_reported_to_be_of_no_use():
    (idle,) = LAYERS["highway"](kernel_size=5).plan(Shape((8,)), Shape((8,))).warnings
    assert idle == "`kernel_size` is of no use for a vector, which has no positions"
    assert LAYERS["highway"](kernel_size=5).plan(Shape((8, 9)), Shape((8, 9))).warnings == ()
