"""What a convolution can stand for: a fully connected layer, and the paddings of other frameworks."""

import json

import pytest
import torch
from helpers import experiment_of

from dlx.graph import trace
from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape


def network(inputs, *layers):
    graph = trace(experiment_of(json.dumps({"network": {"inputs": {"input": inputs}, "layers": list(layers)}})))
    return graph, build(graph)


@pytest.mark.parametrize("size", [[6], [4, 6], [2, 3, 4]])
def test_a_kernel_as_large_as_its_input_is_a_fully_connected_layer(size):
    graph, convolution = network([3, *size], {"conv": {"out_channels": 5, "kernel_size": "${x.size}"}})
    flat, dense = network([3, *size], "flatten", {"linear": 5})
    with torch.no_grad():
        dense.linear_1.weight.copy_(convolution.conv_1.weight.flatten(1))
        dense.linear_1.bias.copy_(convolution.conv_1.bias)
    x = torch.randn(2, 3, *size)

    torch.testing.assert_close(convolution(x).flatten(1), dense(x))
    assert (graph.params, graph.macs) == (flat.params, flat.macs)
    assert graph.output_shape() == (5, *(1 for _ in size))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 6)])
def test_a_padding_inside_a_convolution_is_one_before_it(mode, size):
    options = {"out_channels": 4, "kernel_size": 3, "dilation": 2, "groups": 2}
    inside = LAYERS["conv"](**options, padding="same", padding_mode=mode).module(Shape((2, *size)))
    plain = LAYERS["conv"](**options).module(Shape((2, *(n + 4 for n in size))))
    plain.load_state_dict(inside.state_dict())
    pad = LAYERS["pad"](padding=2, mode={"zeros": "constant"}.get(mode, mode)).module(Shape((2, *size)))
    x = torch.randn(3, 2, *size)

    torch.testing.assert_close(inside(x), plain(pad(x)))


@pytest.mark.parametrize(
    "layers",
    [
        [{"conv": {"out_channels": 2, "kernel_size": 3, "stride": 2}}, {"upsample": {"scale_factor": 2}}],
        [
            {"max_pool": 2},
            {"conv_transpose": {"out_channels": 2, "kernel_size": 3, "stride": 2}},
            {"conv": {"out_channels": 1, "kernel_size": 3}},
        ],
        [
            {"upsample": {"scale_factor": 3, "mode": "linear"}},
            {"conv": {"out_channels": 1, "kernel_size": 5, "stride": 2}},
            {"upsample": {"size": 20, "mode": "linear", "align_corners": True}},
        ],
        [
            {"pad_same": {"kernel_size": 3, "stride": 2}},
            {"conv": {"out_channels": 4, "kernel_size": 3, "stride": 2}},
            {"pixel_shuffle": 2},
            {"crop": {"sides": [1, 2]}},
        ],
        [
            {"pixel_unshuffle": 2},
            {"separable_conv": {"out_channels": 2, "kernel_size": 3, "padding": 1}},
            {"conv_transpose": {"out_channels": 1, "kernel_size": 4, "stride": 2, "padding": 1}},
            {"pad": [0, 3]},
            {"depthwise_conv": {"kernel_size": 3, "dilation": 2}},
        ],
    ],
)
def test_no_gradient_arrives_from_outside_a_receptive_field_that_grew_and_shrank(layers):
    graph, made = network([1, 24], *layers)
    for weight in made.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1)
    x = torch.rand(8, 1, 24, requires_grad=True)
    y, receptive_field = made(x), graph.receptive_field

    found = []
    for p in range(y.shape[2]):
        (slope,) = torch.autograd.grad(y[:, :, p].sum(), x, retain_graph=True)
        hit = (slope.abs() > 1e-6).flatten(0, 1).any(0).nonzero().flatten().tolist()
        low = (receptive_field.start[0] + p * receptive_field.stride[0]).__floor__()
        high = low + receptive_field.size[0] - 1
        assert not hit or low <= hit[0] <= hit[-1] <= high
        found.append(bool(hit) and (hit[0] == low or hit[-1] == high))
    assert any(found)
