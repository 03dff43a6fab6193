"""What a position sees of the input: published figures, and which inputs receive gradient."""

import json
from fractions import Fraction
from itertools import product
from math import floor

import pytest
import torch
from helpers import SHIPPED, experiment_of, network_of
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dlx.graph import trace
from dlx.network import build
from dlx.shapes import Reach
from dlx.spec import load


def geometry(reach):
    """Size, stride and left padding, where all axes agree."""
    axes = set(zip(reach.size, reach.stride, reach.start, strict=True))
    ((size, stride, start),) = axes
    return size, stride, -start


def conv(kernel, stride=1, padding=0, **more):
    return {"conv": {"out_channels": 1, "kernel_size": kernel, "stride": stride, "padding": padding, **more}}


def made_of(inputs, layers):
    """The graph of a list of layers in Python."""
    return trace(experiment_of(json.dumps({"network": {"inputs": {"input": inputs}, "layers": layers}})))


# --- published figures ------------------------------------------------------------------------------------------------


def test_lenet5():
    graph = made_of([1, 32, 32], [conv(5), {"avg_pool": 2}, conv(5), {"avg_pool": 2}, "flatten", {"linear": 120}])
    sizes = [geometry(graph.by_name[name].reach)[:2] for name in ("conv_1", "avg_pool_1", "conv_2", "avg_pool_2")]

    assert sizes == [(5, 1), (6, 2), (14, 2), (16, 4)]


@pytest.mark.parametrize(("depth", "size"), [(20, 81), (56, 249), (110, 501)])
def test_resnets_for_cifar(depth, size):
    """He et al. 2015, section 4.2: three stages of (depth - 2)/6 blocks, 1x1 shortcuts where the size changes."""
    layers = f"""
        - conv: {{out_channels: 16, kernel_size: 3, padding: 1}}
        - for: {{width: [16, 32, 64]}}
          layers:
            - repeat:
                times: {(depth - 2) // 6}
                index: n
                layers:
                  - block: {{width: "${{width}}", stride: "${{2 if n == 0 and i > 0 else 1}}"}}
        - global_avg_pool
        - linear: 10
    """
    block = """
    blocks:
      block:
        args: {width: null, stride: null}
        layers:
          - residual:
              layers:
                - conv: {out_channels: "${width}", kernel_size: 3, stride: "${stride}", padding: 1}
                - relu
                - conv: {out_channels: "${width}", kernel_size: 3, padding: 1}
              shortcut:
                - conv: {out_channels: "${width}", kernel_size: 1, stride: "${stride}"}
                  when: ${stride > 1}
              after: relu
    """
    graph = network_of("[3, 32, 32]", layers, block)

    assert geometry(graph.receptive_field)[:2] == (size, 4)
    assert graph.warnings == ()


@pytest.mark.parametrize(
    ("kernel", "dilations", "size"),
    [
        (3, [1, 2, 4, 8], 31),  # Yu & Koltun 2016: 2^(i+2) - 1
        (2, [2**i for i in range(10)], 1024),  # van den Oord et al. 2016, WaveNet, section 2.1
    ],
)
def test_dilation_makes_receptive_fields_grow_exponentially(kernel, dilations, size):
    graph = made_of([1, 1100], [conv(kernel, dilation=d) for d in dilations])

    assert geometry(graph.receptive_field) == (size, 1, 0)


def test_vgg16_row_by_row():
    """google-research/receptive_field, RECEPTIVE_FIELD_TABLE: vgg_16."""
    graph = trace(load(SHIPPED["cs231n/vgg16"]))
    rows = {
        "conv_1": (3, 1),
        "max_pool_1": (6, 2),
        "max_pool_2": (16, 4),
        "max_pool_3": (44, 8),
        "max_pool_4": (100, 16),
        "conv_12": (164, 16),
        "max_pool_5": (212, 32),
    }
    assert {name: geometry(graph.by_name[name].reach)[:2] for name in rows} == rows
    assert geometry(graph.receptive_field) == (212, 32, 90)


def test_alexnet_row_by_row():
    """google-research/receptive_field: alexnet_v2, whose first convolution has no padding."""
    graph = trace(load(SHIPPED["cs231n/alexnet"], ["network.layers.conv_1.padding=0"]))
    rows = {"conv_1": 11, "max_pool_1": 19, "conv_2": 51, "conv_3": 99, "conv_4": 131, "conv_5": 163, "max_pool_3": 195}

    assert {name: geometry(graph.by_name[name].reach)[0] for name in rows} == rows
    assert geometry(graph.receptive_field) == (195, 32, 64)


@pytest.mark.parametrize(("depths", "size"), [([3, 4, 6, 3], 483), ([3, 4, 23, 3], 1027), ([3, 8, 36, 3], 1507)])
def test_resnets_with_the_stride_on_the_first_1x1(depths, size):
    changes = [
        "blocks.bottleneck.layers.0.residual.layers.0.conv.stride='${stride}'",
        "blocks.bottleneck.layers.0.residual.layers.3.conv.stride=1",
        f"vars.depths={depths}",
    ]
    graph = trace(load(SHIPPED["cs231n/resnet50"], changes))

    assert geometry(graph.receptive_field) == (size, 32, size // 2 - 2)


def test_resnet50_block_by_block():
    """google-research/receptive_field: resnet_v1_50 strides in the last unit of a block, so each block ends wider."""
    graph = trace(load(SHIPPED["cs231n/resnet50"]))
    ends = [geometry(graph.by_name[f"bottleneck_{n}/relu_3"].reach)[:2] for n in (3, 7, 13, 16)]

    assert ends == [(35, 4), (91, 8), (267, 16), (427, 32)]


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        ([conv(3, 1, 1)] * 4 + [conv(3, 1, 1)], [3, 5, 7, 9, 11]),
        ([conv(3), conv(3), conv(5), conv(5)], [3, 5, 9, 13]),
    ],
)
def test_each_convolution_adds_its_kernel_less_one(layers, sizes):
    graph = made_of([1, 30], layers)

    assert [node.reach.size[0] for node in graph.nodes] == sizes


# Understanding Deep Learning (Prince 2023), chapter 10.
UDL = {
    "figure 10.6: kernel 3, four layers": ([conv(3), conv(3), conv(3, 2), conv(3)], [3, 5, 7, 11]),
    "problem 10.9: kernel 3, three layers": ([conv(3), conv(3), conv(3)], [3, 5, 7]),
    "problem 10.10: kernel 7, three layers": ([conv(7), conv(7), conv(7)], [7, 13, 19]),
    "problem 10.11: kernels 5, with stride": ([conv(5), conv(5), conv(5, 1)], [5, 9, 13]),
}


def test_the_mnist1d_network_of_figure_10_7():
    graph = trace(load(SHIPPED["udl/mnist1d-conv"]))

    assert [geometry(graph.by_name[f"conv_{n}"].reach)[:2] for n in (1, 2, 3)] == [(3, 2), (7, 4), (15, 8)]
