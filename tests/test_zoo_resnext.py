"""ResNeXt-50 drawn as 32 paths is ResNeXt-50 drawn with 32 groups: the same weights make the same outputs."""

import pytest
import torch
from helpers import SHIPPED

from dlx.graph import trace
from dlx.network import build
from dlx.spec import load

PATHS = 32
IMAGE = "network.inputs.image=[3,64,64]"
NORM = ("weight", "bias", "running_mean", "running_var")


@pytest.fixture(scope="module")
def grouped():
    """The grouped network with weights and running averages that differ from channel to channel."""
    torch.manual_seed(0)
    network = build(trace(load(SHIPPED["cs231n/resnext50_32x4d"], [IMAGE]))).double().eval()
    for name, value in network.state_dict().items():
        if name.rpartition(".")[2] in NORM and value.dim() == 1:
            value.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def explicit_paths():
    return build(trace(load(SHIPPED["cs231n/resnext50-paths"], [IMAGE]))).double().eval()


def moved(weights):
    """The state of the grouped network, cut and renamed for the one of paths."""
    state = {}
    for name, value in weights.items():
        block, _, inner = name.partition(".") if name.startswith("bottleneck") else ("", "", name)
        there = block.replace("bottleneck", "aggregated")
        layer, _, kind = inner.rpartition(".")
        if not block:
            state[name] = value
        elif layer in {"conv_1", "conv_2", "batch_norm_1", "batch_norm_2"}:
            for n, piece in enumerate(value.chunk(PATHS) if value.dim() else [value] * PATHS, 1):
                state[f"{there}.path_{n}.{inner}"] = piece
        elif layer == "conv_3":
            for n, piece in enumerate(value.chunk(PATHS, dim=1), 1):
                state[f"{there}.path_{n}.{inner}"] = piece
        else:  # the norm of the sum, and the shortcut
            outer = {"batch_norm_3": "batch_norm_1", "conv_4": "conv_1", "batch_norm_4": "batch_norm_2"}[layer]
            state[f"{there}.{outer}.{kind}"] = value
    return state


def test_both_have_as_many_parameters_and_multiply_adds():
    groups, paths = (trace(load(SHIPPED[f"cs231n/{name}"])) for name in ("resnext50_32x4d", "resnext50-paths"))

    assert (paths.params, paths.macs) == (groups.params, groups.macs)
    assert paths.receptive_field == groups.receptive_field


def test_paths_and_groups_of_the_same_weights_give_the_same_outputs(grouped, explicit_paths):
    explicit_paths.load_state_dict(moved(grouped.state_dict()))
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, got = grouped(x), explicit_paths(x)

    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_one_path_with_other_weights_gives_another_output(grouped, explicit_paths):
    explicit_paths.load_state_dict(moved(grouped.state_dict()))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = explicit_paths(x)
        explicit_paths.get_submodule("aggregated_7.path_32.conv_2").weight.mul_(2)
        after = explicit_paths(x)

    assert not torch.allclose(before, after)
