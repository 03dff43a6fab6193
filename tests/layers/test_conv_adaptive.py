"""Deformable convolutions against loops over taps, mixed filters against one convolution a sample."""

from math import floor

import pytest
import torch
import torch.nn.functional as F
from helpers import network_of, refusal

from dlx.init.he import HeNormal
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def made(kind, x, **options):
    return LAYERS[kind].model_validate(options).module(Shape(x.shape[1:])).to(x.dtype)


def bilinear(image, row, column):
    """The value of an image (H, W) between its positions, by hand; 0 outside."""
    top, left, total = floor(row), floor(column), 0.0
    for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= i < image.shape[0] and 0 <= j < image.shape[1]:
            total += (1 - abs(row - i)) * (1 - abs(column - j)) * float(image[i, j])
    return total


def by_loops(module, x, offset, mask):
    """Equation 2 of the paper (or 1 of the second, with a mask), one tap after the other."""
    (kh, kw), out = module.kernel_size, module.weight.shape[0]
    y = torch.zeros(len(x), out, *offset.shape[2:], dtype=x.dtype)
    per_group, per_offset = module.weight.shape[1], x.shape[1] // module.deformable_groups
    for n, o, i, j in torch.cartesian_prod(*(torch.arange(k) for k in y.shape)).tolist():
        total = float(module.bias[o])
        for c in range(per_group):
            channel = o // (out // module.groups) * per_group + c
            for tap in range(kh * kw):
                a, b = divmod(tap, kw)
                place = channel // per_offset * kh * kw + tap
                row = (
                    i * module.stride[0]
                    - module.padding[0]
                    + a * module.dilation[0]
                    + float(offset[n, 2 * place, i, j])
                )
                column = (
                    j * module.stride[1]
                    - module.padding[1]
                    + b * module.dilation[1]
                    + float(offset[n, 2 * place + 1, i, j])
                )
                weigh = 1.0 if mask is None else float(mask[n, place, i, j])
                total += float(module.weight[o, c, a, b]) * weigh * bilinear(x[n, channel], row, column)
        y[n, o, i, j] = total
    return y


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": [2, 3], "stride": [2, 1], "dilation": [1, 2], "groups": 2, "deformable_groups": 2},
    ],
)
def test_a_deformable_convolution_is_the_sum_over_moved_taps(options, modulated):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    module = made("deformable_conv", x, out_channels=2, modulated=modulated, **options)
    taps = module.deformable_groups * module.weight[0, 0].numel()
    size = module(x).shape[2:]
    offset, mask = 2 * torch.randn(2, 2 * taps, *size).double(), torch.rand(2, taps, *size).double()

    with torch.no_grad():
        mine = module.convolved(x, offset, mask if modulated else None)
        torch.testing.assert_close(
            mine, by_loops(module, x, offset, mask if modulated else None), rtol=1e-9, atol=1e-9
        )
        assert not torch.allclose(mine, module.convolved(x, -offset, mask if modulated else None))


def test_offsets_and_weights_are_those_of_the_second_convolution():
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    module = made("deformable_conv", x, out_channels=2, kernel_size=3, padding=1)
    torch.nn.init.normal_(module.offset_weight)
    given = F.conv2d(x, module.offset_weight, module.offset_bias, padding=1)

    torch.testing.assert_close(module(x), module.convolved(x, given[:, :18], given[:, 18:].sigmoid()))


@pytest.mark.parametrize(("modulated", "factor"), [(False, 1.0), (True, 0.5)])
def test_a_deformable_convolution_begins_as_a_plain_one_whatever_the_init(modulated, factor):
    options = f"kernel_size: 3, stride: 2, padding: 1, bias: false, modulated: {str(modulated).lower()}"
    network = build(network_of("[2, 9, 7]", f"- deformable_conv: {{out_channels: 3, {options}}}"), HeNormal())
    x, module = torch.randn(4, 2, 9, 7), network.deformable_conv_1

    torch.testing.assert_close(network(x), factor * F.conv2d(x, module.weight, None, 2, 1), rtol=1e-4, atol=1e-5)


def test_an_image_in_channels_last_is_read_alike():
    x = torch.randn(2, 4, 6, 6)
    module = made("deformable_conv", x, out_channels=2, kernel_size=3, deformable_groups=2)
    torch.nn.init.normal_(module.offset_weight)

    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), module(x))


# --- mixed filters --------------------------------------------------------------------------------------------------


def shares(module, x):
    """How much of each filter a sample gets, by the formulas of the papers."""
    mean = x.flatten(1).mean(1)
    if hasattr(module, "router"):
        return torch.sigmoid(module.router.weight @ mean + module.router.bias)
    hidden = torch.relu(module.squeeze.weight @ mean)
    return torch.softmax((module.attend.weight @ hidden + module.attend.bias) / module.temperature, 0)


@pytest.mark.parametrize("kind", ["cond_conv", "dynamic_conv"])
@pytest.mark.parametrize(("size", "conv"), [((9,), F.conv1d), ((5, 6), F.conv2d), ((3, 4, 5), F.conv3d)])
def test_each_sample_is_convolved_with_its_own_mixture_of_filters(kind, size, conv):
    torch.manual_seed(0)
    x = torch.randn(3, 8, *size, dtype=torch.float64)
    module = made(kind, x, out_channels=4, kernel_size=3, padding=1, groups=2)
    torch.nn.init.normal_((module.router if kind == "cond_conv" else module.squeeze).weight, std=10)
    alone = []
    for sample in x:
        share = shares(module, sample)
        weight, bias = torch.einsum("k,k...->...", share, module.weight), share @ module.bias
        alone.append(conv(sample[None], weight, bias, padding=1, groups=2))

    torch.testing.assert_close(module(x), torch.cat(alone))
    assert not torch.allclose(shares(module, x[0]), shares(module, x[1]))


def test_a_low_temperature_takes_one_filter():
    x = torch.randn(3, 8, 5, 5, dtype=torch.float64)
    module = made("dynamic_conv", x, out_channels=4, kernel_size=3, temperature=1e-6)

    torch.testing.assert_close(module.mixture(x).amax(1), torch.ones(3, dtype=torch.float64))


def test_filters_that_are_mixed_are_drawn_one_by_one():
    module = made("cond_conv", torch.zeros(1, 8, 5, 5), out_channels=4, kernel_size=3)

    assert not torch.equal(module.weight[0], module.weight[1])
    assert module.weight.abs().max() <= 1 / (8 * 9) ** 0.5  # as torch draws those of a convolution


@pytest.mark.parametrize(
    ("kind", "options", "inputs", "message"),
    [
        (
            "deformable_conv",
            {"out_channels": 2, "kernel_size": 3},
            [(3, 9)],
            "deformable_conv moves taps of an image, (C, H, W), and (3, 9) is none",
        ),
        (
            "deformable_conv",
            {"out_channels": 2, "kernel_size": 3, "deformable_groups": 2},
            [(3, 9, 9)],
            "deformable_conv has 3 channels, which do not split into deformable_groups = 2",
        ),
        (
            "cond_conv",
            {"out_channels": 2, "kernel_size": 3, "groups": 2},
            [(3, 9, 9)],
            "3 input channels do not split into groups = 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(kind, options, inputs, message):
    assert refusal(kind, options, inputs)[0] == message
