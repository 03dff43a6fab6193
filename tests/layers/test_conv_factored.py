"""Depthwise, pointwise and separable convolutions: against full ones with the same filters."""

import pytest
import torch
import torch.nn.functional as F
from sliding import built, hulls, positive
from torch.utils.flop_counter import FlopCounterMode

from dlx.errors import ShapeError
from dlx.layers import LAYERS
from dlx.shapes import Shape

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SIZES = [(7,), (6, 7), (4, 5, 6)]


@pytest.mark.parametrize("size", SIZES)
def test_a_depthwise_convolution_slides_over_each_channel_by_itself(size):
    plan, module = built("depthwise_conv", {"kernel_size": 3, "multiplier": 2, "padding": 1}, (3, *size))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    apart = [CONVOLVE[len(size)](x[:, c : c + 1], module.weight[2 * c : 2 * c + 2], padding=1) for c in range(3)]
    bias = module.bias.view(-1, *(1 for _ in size))

    torch.testing.assert_close(module(x), torch.cat(apart, 1) + bias)
    assert plan.shape == (6, *size)
    assert plan.params == 6 * 3 ** len(size) + 6


def test_a_depthwise_and_a_pointwise_convolution_cost_what_mobilenet_says():
    """Howard et al. 2017, section 3.1: K*K*M*F*F + M*N*F*F; the whole of it is 1/N + 1/K^2 of a full convolution."""
    depthwise = LAYERS["depthwise_conv"](kernel_size=3, padding=1, bias=False).plan(Shape((512, 14, 14)))
    pointwise = LAYERS["pointwise_conv"](out_channels=512, bias=False).plan(depthwise.shape)
    full = LAYERS["conv"](out_channels=512, kernel_size=3, padding=1, bias=False).plan(Shape((512, 14, 14)))

    assert depthwise.macs == 3 * 3 * 512 * 14 * 14
    assert pointwise.macs == 512 * 512 * 14 * 14
    assert (depthwise.macs + pointwise.macs) / full.macs == pytest.approx(1 / 512 + 1 / 9)


def test_a_pointwise_convolution_is_a_linear_layer_at_each_position():
    _, module = built("pointwise_conv", {"out_channels": 5}, (3, 4, 6))
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    mixed = F.linear(x.movedim(1, -1), module.weight.flatten(1), module.bias)

    torch.testing.assert_close(module(x), mixed.movedim(-1, 1))


def test_a_pointwise_convolution_with_a_stride_keeps_every_other_position():
    plan, module = built("pointwise_conv", {"out_channels": 4, "stride": 2, "groups": 2}, (4, 7))

    assert plan.shape == (4, 4)
    assert plan.params == 4 * 2 + 4
    assert set(hulls(plan, positive(module), (4, 7))) == {(True, True)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("more", [{"padding": 1, "stride": 2}, {"padding": "same", "dilation": 2}, {"bias": False}])
def test_a_separable_filter_is_the_outer_product_of_its_parts(size, more):
    options = {"out_channels": 5, "kernel_size": 3, **more}
    plan, module = built("separable_conv", options, (4, *size))
    x = torch.randn(2, 4, *size, dtype=torch.float64)

    full = module.mix.weight
    for line in module.along:
        full = full * line.weight  # (5, 4, 1, ...) and (5, 1, ..., 3, ...): each line stretches its own axis
    options = {name: value for name, value in more.items() if name != "bias"}
    wanted = CONVOLVE[len(size)](x, full, module.along[-1].bias, **options)

    assert tuple(full.shape) == (5, 4, *(3 for _ in size))
    torch.testing.assert_close(module(x), wanted)
    assert plan.shape == wanted.shape[1:]
    assert plan.params == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as flops:
        module(x)
    assert flops.get_total_flops() == 2 * 2 * plan.macs


def test_a_separable_convolution_has_c_times_c_and_2k_parameters():
    """Prince 2023, notes of chapter 10: C + K + K for each of the C channels."""
    plan = LAYERS["separable_conv"](out_channels=64, kernel_size=5, padding=2, bias=False).plan(Shape((64, 8, 8)))

    assert plan.params == 64 * (64 + 2 * 5)


def test_a_separable_convolution_sees_what_a_full_one_sees():
    options = {"out_channels": 2, "kernel_size": [3, 5], "stride": [2, 1], "dilation": [1, 2]}
    plan, module = built("separable_conv", options, (2, 11, 12))

    assert set(hulls(plan, positive(module), (2, 11, 12))) == {(True, True)}
    assert plan.window == LAYERS["conv"](**options).plan(Shape((2, 11, 12))).window


def test_same_padding_with_a_stride_is_refused_with_the_padding_in_numbers():
    with pytest.raises(ShapeError) as refusal:
        LAYERS["separable_conv"](out_channels=2, kernel_size=5, stride=2, padding="same").plan(Shape((2, 9)))

    problem = refusal.value.problem_for([])
    assert problem.message == 'padding "same" keeps the size, stride 2 shrinks it'
    assert problem.hint == "Give it in numbers, 2 for this kernel, or put a `pad_same` before it."


@pytest.mark.parametrize("kind", ["depthwise_conv", "pointwise_conv", "separable_conv", "gated_conv"])
def test_a_vector_is_refused_by_the_name_of_the_layer(kind):
    options = {"kernel_size": 1} if kind == "depthwise_conv" else {"out_channels": 2}
    if kind in {"separable_conv", "gated_conv"}:
        options["kernel_size"] = 1
    with pytest.raises(ShapeError) as refusal:
        LAYERS[kind](**options).plan(Shape((40,)))

    assert refusal.value.problem_for(["`x`"]).message == f"{kind} slides over positions, and `x` has none"
