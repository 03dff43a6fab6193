"""Convolutions over rotations: a turned image gives the turned output, to the last bit, and a plain one does not."""

import pytest
import torch
from helpers import network_of, refusal

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def whole_numbers(*shape):
    """Values whose sums and products are exact in any order."""
    return torch.randint(-8, 9, shape).float()


def made(kind, x, **options):
    module = LAYERS[kind].model_validate(options).module(Shape(x.shape[1:]))
    for weight in module.parameters():
        weight.data = whole_numbers(*weight.shape)
    return module


def turned(maps):
    """Turn (N, 4 * C, H, W) as its image: each map by 90 degrees, and on to the next of its four."""
    four = maps.unflatten(1, (-1, 4))
    return four.rot90(1, (-2, -1)).roll(1, 2).flatten(1, 2)


@pytest.mark.parametrize("options", [{"padding": 1}, {}, {"stride": 2, "padding": 1}])
def test_a_turned_image_gives_turned_maps(options):
    x = whole_numbers(2, 3, 7, 9)
    lifting = made("p4_lifting_conv", x, out_channels=2, kernel_size=3, **options)

    assert torch.equal(lifting(x.rot90(1, (2, 3))), turned(lifting(x)))


def test_turned_maps_give_turned_maps():
    x = whole_numbers(2, 8, 7, 7)
    group = made("p4_conv", x, out_channels=3, kernel_size=3, padding=1)

    assert torch.equal(group(turned(x)), turned(group(x)))
    assert torch.equal(group(turned(turned(turned(turned(x))))), group(x))


def test_a_plain_convolution_does_not_turn_with_its_input():
    x = whole_numbers(2, 3, 7, 7)
    plain = made("conv", x, out_channels=8, kernel_size=3, padding=1)

    assert not torch.equal(plain(x.rot90(1, (2, 3))), turned(plain(x)))


def test_a_stride_that_leaves_positions_out_is_warned_of_and_does_not_turn():
    x = whole_numbers(2, 3, 8, 8)
    options = {"out_channels": 2, "kernel_size": 3, "stride": 2, "padding": 1}
    lifting = made("p4_lifting_conv", x, **options)

    assert not torch.equal(lifting(x.rot90(1, (2, 3))), turned(lifting(x)))


def test_the_four_channels_of_a_filter_are_its_rotations():
    x = torch.zeros(1, 1, 3, 3)
    lifting = made("p4_lifting_conv", x, out_channels=1, kernel_size=3, bias=False)
    one = lifting.weight[0, 0].detach()

    for r in range(4):
        x = one.rot90(r, (0, 1))[None, None]
        assert lifting(x)[0, r].item() == one.square().sum().item()


NETWORK = """
    - p4_lifting_conv: {out_channels: 2, kernel_size: 3, padding: 1, bias: false}
    - reshape: [2, 4, 8, 8]
    - batch_norm
    - reshape: [8, 8, 8]
    - relu
    - p4_conv: {out_channels: 3, kernel_size: 3, padding: 1}
    - maxout: 4
    - global_max_pool: {keepdim: false}
"""


def largest_difference(layers, x):
    torch.manual_seed(0)
    network = build(network_of("[1, 8, 8]", layers)).double()
    return (network(x) - network(x.rot90(1, (2, 3)))).abs().max().item()


def test_a_network_that_forgets_the_rotation_gives_a_turned_image_the_same_output():
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    plain = NETWORK.replace("p4_lifting_conv: {out_channels: 2", "conv: {out_channels: 8")
    plain = plain.replace("p4_conv: {out_channels: 3", "conv: {out_channels: 12")

    assert largest_difference(NETWORK, x) < 1e-12
    assert largest_difference(plain, x) > 0.1


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        (
            "p4_conv",
            [(6, 9, 9)],
            "p4_conv takes channels in fours, one for each rotation, and (6, 9, 9) has 6",
        ),
        ("p4_lifting_conv", [(6, 9)], "p4_lifting_conv turns filters over an image, (C, H, W), and (6, 9) is none"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(kind, inputs, message):
    assert refusal(kind, {"out_channels": 2, "kernel_size": 3}, inputs)[0] == message
