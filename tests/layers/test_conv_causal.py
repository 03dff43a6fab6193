"""Causal convolutions: positions before, none behind; step by step; fields that add up."""

import pytest
import torch
import torch.nn.functional as F
from helpers import network_of, refusal
from test_saved_tensors import planned, saved_by_torch

from dlx.layers import LAYERS
from dlx.modules.steps import Cache
from dlx.network import build
from dlx.shapes import Shape

CONV = LAYERS["conv"]
X = Shape((3, 11))


@pytest.mark.parametrize("options", [{}, {"dilation": 3}, {"stride": 2}, {"bias": False}, {"kernel_size": 1}])
def test_a_causal_convolution_is_one_with_all_padding_before(options):
    x = torch.randn(2, 3, 11)
    layer = CONV.model_validate({"out_channels": 4, "kernel_size": 2, "padding": "causal", **options})
    module, plan, more = layer.module(X), layer.plan(X), {"dilation": layer.dilation, "stride": layer.stride}
    before = layer.dilation * (layer.kernel_size - 1)
    expected = F.conv1d(F.pad(x, (before, 0)), module.weight, module.bias, **more)
    torch.testing.assert_close(module(x), expected)
    assert plan.shape == module(x).shape[1:]
    assert plan.macs == layer.out_channels * 3 * layer.kernel_size * plan.shape[1]
    assert planned(layer, [X]) == saved_by_torch(layer, [X])


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_no_output_sees_a_later_position(mode):
    layer = CONV(out_channels=4, kernel_size=3, dilation=2, padding="causal", padding_mode=mode)
    x = torch.randn(1, 3, 11, requires_grad=True)
    layer.module(X)(x)[0, :, 6].sum().backward()
    assert x.grad[0].abs().sum(0).nonzero().flatten().tolist() == [2, 4, 6]
    window = layer.plan(X).window
    assert (window.before, window.after) == ((4,), (0,))
    same = CONV(out_channels=4, kernel_size=3, dilation=2, padding="same").module(X)
    x.grad = None
    same(x)[0, :, 6].sum().backward()
    assert x.grad[0, :, 7:].any()


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_steps_of_a_causal_convolution_are_the_whole_pass(kernel, mode):
    layer = CONV(out_channels=4, kernel_size=kernel, dilation=2, padding="causal", padding_mode=mode)
    module, x, cache = layer.module(X), torch.randn(2, 3, 11), Cache()
    steps = torch.cat([module.step(part, cache=cache) for part in x.split([1, 1, 6, 1, 2], 2)], 2)
    torch.testing.assert_close(steps, module(x), atol=2e-6, rtol=1e-5)
    if kernel > 1:
        forgotten = torch.cat([module.step(part, cache=Cache()) for part in x.split(1, 2)], 2)
        assert (forgotten - module(x)).abs().max() > 1e-3


def test_dilations_add_up_to_the_field_of_a_stack():
    graph = network_of(
        "[1, 64]",
        """
        - repeat:
            times: 5
            layers: [{conv: {out_channels: 2, kernel_size: 2, dilation: "${2 ** i}", padding: causal}}]
        """,
    )
    last = graph.nodes[-1]
    assert (last.receptive_field.size, last.receptive_field.start) == ((32,), (-31,))
    x = torch.randn(1, 1, 64, requires_grad=True)
    build(graph)(x)[0, :, 40].sum().backward()
    assert x.grad[0, 0].nonzero().flatten().tolist() == list(range(9, 41))


def test_a_gated_convolution_may_be_causal():
    layer = LAYERS["gated_conv"](out_channels=4, kernel_size=3, padding="causal")
    x, module = torch.randn(2, 3, 11), layer.module(X)
    padded = F.pad(x, (2, 0))
    features, gate = (F.conv1d(padded, part.weight, part.bias) for part in (module.features, module.gate))
    torch.testing.assert_close(module(x), features * gate.sigmoid())
    assert planned(layer, [X]) == saved_by_torch(layer, [X])


@pytest.mark.parametrize(
    ("options", "x", "message", "hint"),
    [
        (
            {},
            (3, 8, 8),
            'padding "causal" is of one axis, before and after, and the input has 2 of positions',
            "`- pad` adds positions on any side: `[left, right, top, bottom]`.",
        ),
        (
            {"padding_mode": "circular"},
            (3, 8),
            (
                'padding "causal" lets no position see a later one, and padding_mode circular takes its padded '
                "positions from later ones"
            ),
            'Use padding_mode "zeros" or "replicate".',
        ),
    ],
)
def test_what_cannot_be_causal_says_so(options, x, message, hint):
    assert refusal("conv", {"out_channels": 4, "kernel_size": 3, "padding": "causal", **options}, [x]) == (
        message,
        hint,
    )
