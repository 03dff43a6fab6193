"""The gradient of a residual network by the length of its paths."""

import pytest
import torch
from helpers import network_of

from dlx.analysis.measures.gradient_paths import gradients_by_length, mean_norm, path_gradients
from dlx.analysis.measures.residual_blocks import residual_blocks
from dlx.analysis.measures.walk import projection, values_of
from dlx.network import build

TEN = "{linear: {out_features: 1, bias: false}, values: {weight: 10}}"
TENS = f"- repeat: {{times: 4, layers: [{{residual: {{layers: [{TEN}]}}}}]}}"
"""The blocks of UDL's equations 11.4 to 11.6, each f times ten."""
DEEP = """
- {linear: 6}
- repeat: {times: 5, layers: [{residual: {layers: [batch_norm, relu, {linear: 6}]}}]}
- relu
- {linear: 2}
"""


def test_each_length_brings_its_paths_of_one_gradient_each():
    graph = network_of("{x: [1]}", TENS)
    network, x = build(graph), torch.tensor([[1.0]])
    blocks = residual_blocks(graph)

    sums = gradients_by_length(network, [x], torch.sum, blocks, "x")
    single = path_gradients(network, [x], torch.sum, blocks, "x", samples=3)

    assert [float(one) for one in sums] == [1, 4 * 10, 6 * 100, 4 * 1000, 10_000]  # C(4, k) paths of 10^k
    assert [set(norms) for norms in single] == [{1.0}, {10.0}, {100.0}, {1000.0}, {10_000.0}]


@pytest.mark.parametrize("at", ["x", "linear_1", "add_2"])
def test_the_lengths_add_up_to_the_gradient_of_backpropagation(at: str):
    torch.manual_seed(0)
    graph = network_of("{x: [3]}", DEEP)
    network, x = build(graph), torch.randn(8, 3, requires_grad=True)
    blocks, loss = residual_blocks(graph), projection()

    parts = gradients_by_length(network, [x], loss, blocks, at)
    output, values = values_of(network, [x], [at])
    (whole,) = torch.autograd.grad(loss(output), values[at])

    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-5)
    assert len(parts) == (4 if at == "add_2" else 6)  # three blocks are behind the second sum
    assert not torch.allclose(sum(parts[:-1]), whole, rtol=1e-2)  # without the longest path


def test_the_longest_path_is_the_network_without_its_shortcuts():
    torch.manual_seed(0)
    graph = network_of("{x: [4]}", "- repeat: {times: 3, layers: [{residual: {layers: [{linear: 4}]}}]}")
    plain = network_of("{x: [4]}", "- repeat: {times: 3, layers: [{linear: 4}]}")
    network, alone, x = build(graph), build(plain), torch.randn(5, 4, requires_grad=True)
    alone.load_state_dict(network.state_dict())

    sums = gradients_by_length(network, [x], projection(), residual_blocks(graph), "x")
    single = path_gradients(network, [x], projection(), residual_blocks(graph), "x", samples=1)
    (expected,) = torch.autograd.grad(projection()(alone(x)), x)

    torch.testing.assert_close(sums[-1], expected)
    assert single[-1] == [pytest.approx(mean_norm(expected), rel=1e-5)]
    assert single[0] == [pytest.approx(mean_norm(sums[0]), rel=1e-5)]
