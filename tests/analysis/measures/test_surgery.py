"""Networks without some of their layers, or with these in another order."""

import pytest
import torch
from helpers import network_of

from dlx.analysis.measures.surgery import kendall_tau, removable, reordered, without
from dlx.network import build

RESIDUAL = "- {linear: 4}\n- repeat: {times: 3, layers: [{residual: {layers: [relu, {linear: 4}]}}]}\n- {linear: 2}"
PLAIN = "- {linear: 4}\n- repeat: {times: 3, layers: [{linear: 4}, relu]}\n- {linear: 2}"


def test_a_block_that_is_left_out_is_its_shortcut():
    torch.manual_seed(0)
    graph = network_of("{x: [3]}", RESIDUAL)
    network, parts, x = build(graph), removable(graph), torch.randn(5, 3)

    def f(i: int, h: torch.Tensor) -> torch.Tensor:
        return network.get_submodule(f"linear_{i + 2}")(h.relu())

    h = network.linear_1(x)
    first = h + f(0, h)
    third = first + f(2, first)
    only = h + f(1, h)
    assert [part.name for part in parts] == ["add_1", "add_2", "add_3"]
    torch.testing.assert_close(without(network, [parts[1]])(x), network.linear_5(third))
    torch.testing.assert_close(without(network, [parts[0], parts[2]])(x), network.linear_5(only))
    torch.testing.assert_close(without(network, [*parts])(x), network.linear_5(h))


def test_a_layer_that_is_left_out_goes_with_its_activation():
    torch.manual_seed(0)
    graph = network_of("{x: [3]}", PLAIN)
    network, parts, x = build(graph), removable(graph), torch.randn(5, 3)

    h = network.linear_1(x)
    expected = network.linear_5(network.linear_4(network.linear_2(h).relu()).relu())
    assert [part.inside for part in parts] == [(f"linear_{i}", f"relu_{i - 1}") for i in (2, 3, 4)]
    torch.testing.assert_close(without(network, [parts[1]])(x), expected)


def test_blocks_that_change_places_run_with_the_weights_of_the_other():
    torch.manual_seed(0)
    graph = network_of("{x: [3]}", RESIDUAL)
    network, (a, b, c), x = build(graph), removable(graph), torch.randn(5, 3)
    other = build(graph)
    other.load_state_dict(network.state_dict())
    other.linear_2.load_state_dict(network.linear_4.state_dict())
    other.linear_4.load_state_dict(network.linear_2.state_dict())

    before = network(x)

    torch.testing.assert_close(reordered(network, {a: c, b: b, c: a})(x), other(x))
    assert not torch.allclose(before, other(x))
    torch.testing.assert_close(network(x), before)  # the network itself stays as it is


def test_the_output_layer_and_layers_that_change_shapes_stay():
    graph = network_of("{x: [4]}", "- {linear: 8}\n- {linear: 4}\n- {linear: 4}")

    assert removable(graph) == ()


def test_kendall_tau_is_that_of_scipy():
    from scipy.stats import kendalltau

    for order in ([0, 1, 2], [2, 1, 0], [3, 0, 2, 1, 4]):
        assert kendall_tau(order) == pytest.approx(kendalltau(range(len(order)), order).statistic)
