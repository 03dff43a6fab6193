"""Sizes of values and gradients."""

import numpy as np
import pytest
import torch
from helpers import network_of

from dlx.analysis.measures.scales import scales
from dlx.network import build


def test_sizes_are_those_of_numpy_and_of_backward():
    torch.manual_seed(0)
    network = build(network_of("{x: [3]}", "- {linear: 5}\n- tanh\n- {linear: 2}"))
    x = torch.randn(7, 3)
    h = network.linear_1(x)
    h.retain_grad()
    network.linear_2(h.tanh()).square().sum().backward()

    found = scales(network, [x], lambda output: output.square().sum(), ["x", "linear_1"])

    assert found["linear_1"].std == pytest.approx(np.std(h.detach().numpy()), rel=1e-5)
    assert found["linear_1"].mean == pytest.approx(np.mean(h.detach().numpy()), rel=1e-4)
    assert found["linear_1"].gradient == pytest.approx(np.sqrt(np.mean(h.grad.numpy() ** 2)), rel=1e-5)
    assert found["x"].std == pytest.approx(np.std(x.numpy()), rel=1e-5)
    assert np.isnan(found["x"].gradient)  # nothing learns there


def test_values_far_from_zero_keep_their_deviation():
    network = build(network_of("{x: [2]}", "- {identity: {}, name: same}\n- {linear: 1}"))

    found = scales(network, [1e4 + torch.tensor([[-0.25, 0.25]])], torch.sum, ["same"])

    assert found["same"].std == pytest.approx(0.25, rel=1e-2)
