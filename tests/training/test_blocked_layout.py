"""A network in oneDNN's layout calls the same modules, gives the same numbers, and shows where they are none."""

import copy

import pytest
import torch
from helpers import network_of
from torch import nn

from dlx.modules import blocks
from dlx.network import build
from dlx.training.blocked_layout import PLACES, in_blocks

CONV = "- conv: {out_channels: %s, kernel_size: 3, padding: 1%s}"
END = "- flatten\n- linear: 5"


def layers(*lines: str) -> str:
    return "\n".join(lines)


BETWEEN = {
    "nothing": "",
    "relu": "- relu",
    "relu and maxima": "- relu\n- max_pool: 2",
    "maxima and relu": "- max_pool: 2\n- relu",
    "maxima that overlap": "- relu\n- max_pool: {kernel_size: 3, stride: 2, padding: 1}",
    "maxima over the end": "- relu\n- max_pool: {kernel_size: 2, ceil_mode: true}",
    "means": "- relu\n- avg_pool: 2",
    "means with padding": "- avg_pool: {kernel_size: 3, stride: 2, padding: 1}",
    "batch norm": "- batch_norm\n- relu",
    "dropout": "- {dropout: 0.5}\n- identity\n- relu",
    "1x1, strided": "- conv: {out_channels: 40, kernel_size: 1, stride: 2, bias: false}\n- relu",
    "dilated": "- conv: {out_channels: 7, kernel_size: 3, dilation: 2}\n- relu",
    "residual": "- residual: {layers: [{conv: {out_channels: 20, kernel_size: 3, padding: 1}}, relu]}\n- relu",
    "something else": "- relu\n- silu\n- layer_norm: {over: channels}",
}
"""What stands between two convolutions."""


def built(between: str, end: str = END, size: str = "[3, 13, 12]"):
    torch.manual_seed(0)
    return build(network_of(f"{{x: {size}}}", layers(CONV % (20, ""), between, CONV % (24, ""), "- relu", end)))


def gradients(network: nn.Module, of: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    of.zero_grad()
    torch.manual_seed(1)
    network(x).square().mean().backward()
    return [p.grad.clone() for p in of.parameters()]


@pytest.mark.parametrize("name", BETWEEN)
def test_an_evaluation_in_blocks_gives_the_same_within_rounding(name):
    network = built(BETWEEN[name]).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1), part.running_var.uniform_(0.5, 2)
    x = torch.randn(9, 3, 13, 12)
    blocked = in_blocks(network, gradients=False)
    if name == "something else":  # each convolution would be alone in blocks
        assert blocked is None
        return
    with torch.inference_mode():
        found, plain = blocked(x), network(x)
        exact = copy.deepcopy(network).double()(x.double())
    rounding = float((plain.double() - exact).abs().max())
    assert "to_mkldnn" in blocked.code
    assert float((found.double() - exact).abs().max()) <= 4 * rounding + 1e-7


@pytest.mark.parametrize("name", [name for name in BETWEEN if name not in {"something else", "dropout"}])
def test_gradients_in_blocks_are_those_of_the_plain_network_within_rounding(name):
    network, x = built(BETWEEN[name]), torch.randn(9, 3, 13, 12)
    twin, exact = copy.deepcopy(network), copy.deepcopy(network).double()
    blocked = in_blocks(network, gradients=True)
    wanted = gradients(exact, exact, x.double())
    found, plain = gradients(blocked, network, x), gradients(twin, twin, x)
    largest = max(float(one.abs().max()) for one in wanted)
    rounding = max(float((a.double() - b).abs().max()) for a, b in zip(plain, wanted, strict=True))
    for a, b in zip(found, wanted, strict=True):
        assert float((a.double() - b).abs().max()) <= 4 * rounding + 1e-7 * largest
    for (key, a), b in zip(network.named_buffers(), twin.buffers(), strict=True):  # statistics of batch norms
        torch.testing.assert_close(a, b, msg=key)


def test_means_over_all_positions_end_the_blocks():
    network = built(BETWEEN["relu"], "- global_avg_pool\n- linear: 5").eval()
    blocked, x = in_blocks(network, gradients=False), torch.randn(4, 3, 13, 12)
    assert "to_dense" not in blocked.code
    with torch.inference_mode():
        torch.testing.assert_close(blocked(x), network(x))


def test_dropout_of_a_training_is_left_to_torch():
    network = built("- relu\n- {dropout: 0.5}")
    assert in_blocks(network, gradients=True) is None
    assert in_blocks(network, gradients=False) is not None


def test_relu_is_taken_behind_the_maxima_to_the_same_bits():
    network = built(BETWEEN["relu and maxima"]).eval()
    blocked, x = in_blocks(network, gradients=False), torch.randn(4, 3, 13, 12)
    assert "relu_1 =" not in blocked.code
    with torch.inference_mode():
        assert torch.equal(blocked(x), network(x))
    names = [node.name for node in in_blocks(network, gradients=True).graph.nodes]
    assert names.index("max_pool_1") < names.index("relu_1")


def test_a_relu_that_something_else_takes_too_stays_before_the_maxima():
    text = layers(
        CONV % (8, ""), "- {relu: {}, name: r}", "- max_pool: 2", "- {global_avg_pool: {}, from: r}", "- linear: 2"
    )
    network = build(network_of("{x: [3, 8, 8]}", layers(CONV % (8, ""), text))).eval()
    names = [node.name for node in in_blocks(network, gradients=False).graph.nodes]
    assert names.index("r") < names.index("max_pool_1")


# ---- what is no number -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", ["relu", "relu and maxima", "maxima and relu", "batch norm", "residual", "means"])
@pytest.mark.parametrize("broken", ["an input", "a weight", "an overflow"])
def test_a_network_in_blocks_is_nan_where_the_plain_one_is(broken, name, train):
    network, x = built(BETWEEN[name]).train(train), torch.randn(4, 3, 13, 12)
    blocked = in_blocks(network, gradients=train)
    with torch.no_grad():
        if broken == "an input":
            x[1, 2, 6, 6] = float("nan")
        elif broken == "a weight":
            network.conv_1.weight[3, 1, 0, 2] = float("nan")
        else:
            network.conv_1.weight.mul_(1e38)
            network.conv_2.weight.mul_(1e10)
    with torch.set_grad_enabled(train):
        lost = network(x).isnan() & ~blocked(x).isnan()
    assert not lost.any()


def test_the_bound_of_a_deep_network_is_measured_on_the_way():
    deep = layers(*[CONV % (40, ""), "- relu"] * 30, "- max_pool: 2", END)
    network, x = build(network_of("{x: [3, 8, 8]}", deep)), torch.randn(4, 3, 8, 8)
    for train in (False, True):
        found = in_blocks(network.train(train), gradients=train)
        with torch.set_grad_enabled(train):
            torch.testing.assert_close(found(x), network(x))
    assert found.code.count("to_dense()") == 4  # three of 30 convolutions, and the end


@pytest.mark.parametrize("train", [False, True])
def test_a_norm_behind_many_convolutions_is_no_reason_for_nan(train):
    # squares of its inputs must not overflow: a bound followed from the input says that they may
    deep = layers(*[CONV % (64, ""), "- relu"] * 10, "- batch_norm", "- relu", "- max_pool: 2", END)
    network, x = build(network_of("{x: [3, 8, 8]}", deep)).train(train), torch.randn(4, 3, 8, 8)
    found = in_blocks(network, gradients=train)
    with torch.set_grad_enabled(train):
        torch.testing.assert_close(found(x), network(x), rtol=1e-3, atol=1e-4)


def test_a_norm_behind_few_convolutions_costs_no_copy():
    network = built(BETWEEN["batch norm"])
    assert in_blocks(network, gradients=True).code.count("to_dense()") == 1


def test_where_a_value_may_have_overflowed_maxima_are_torchs_own():
    x = torch.full((1, 16, 4, 4), float("nan")).to_mkldnn()
    assert torch.max_pool2d(x, 2, 2).to_dense().isfinite().all()
    for bound in (float("nan"), float("inf"), 1e38):
        assert blocks.maximum(x, torch.tensor(bound), False, 2, 2, 0, 1, False).to_dense().isnan().all()


# ---- the same network ------------------------------------------------------------------------------------------


def test_the_weights_stay_those_of_the_network_and_their_changes_are_seen():
    network, x = built(BETWEEN["batch norm"]).eval(), torch.randn(4, 3, 13, 12)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    blocked = in_blocks(network, gradients=False)
    assert [id(one) for one in blocked.parameters()] == [id(one) for one in network.parameters()]
    assert network.state_dict().keys() == before.keys()
    assert set(blocked.meta[PLACES]) == {"conv_1", "batch_norm_1", "relu_1", "conv_2", "relu_2"}
    with torch.no_grad():
        network.conv_2.weight.data = network.conv_2.weight.data.to(memory_format=torch.channels_last) * 2
        network.batch_norm_1.running_mean.add_(1)
        torch.testing.assert_close(blocked(x), network(x))
        torch.testing.assert_close(copy.deepcopy(network)(x), network(x))


def test_nodes_keep_the_names_and_places_of_the_spec():
    network = built(BETWEEN["relu"])
    blocked = in_blocks(network, gradients=False)
    marks = {node.name: node.meta.get("mark") for node in blocked.graph.nodes}
    for node in network.graph.nodes:
        if node.op == "call_module":
            assert marks[node.name] == node.meta["mark"]


class Other(nn.Conv2d):
    """Somebody's own."""


def foreign(network):
    network.conv_2.__class__ = Other


def computed(network):
    nn.utils.parametrizations.weight_norm(network.conv_2)


def wrapped(network):
    network.conv_1.padding_mode = "circular"


@pytest.mark.parametrize("change", [foreign, computed, wrapped, nn.Module.double])
def test_what_torch_has_no_form_for_stays_plain(change):
    network = built(BETWEEN["relu"])
    assert in_blocks(network, gradients=False) is not None
    change(network)
    assert in_blocks(network, gradients=False) is None


def test_a_norm_that_a_training_holds_in_evaluation_is_left_to_torch():
    network = built(BETWEEN["batch norm"])
    network.batch_norm_1.eval()
    assert in_blocks(network, gradients=True) is None


def test_several_inputs_and_outputs_go_through_blocks():
    text = """
    - conv: {out_channels: 8, kernel_size: 3}
      from: a
    - relu
    - {conv: {out_channels: 8, kernel_size: 3, padding: 1}, name: left}
    - {conv: {out_channels: 8, kernel_size: 3}, from: b, name: right}
    - {add: {}, from: [left, right], name: both}
    - {relu: {}, name: end}
    """
    graph = network_of("{a: [3, 9, 9], b: [2, 9, 9]}", text, outputs="{one: end, two: left}")
    network, inputs = build(graph).eval(), (torch.randn(5, 3, 9, 9), torch.randn(5, 2, 9, 9))
    with torch.inference_mode():
        found, plain = in_blocks(network, gradients=False)(*inputs), network(*inputs)
    assert found.keys() == plain.keys() == {"one", "two"}
    for name, output in found.items():
        assert not output.is_mkldnn
        torch.testing.assert_close(output, plain[name])


def test_a_sum_whose_axes_stretch_is_taken_outside_of_blocks():
    x, y = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 1, 1)
    torch.testing.assert_close(blocks.total(x.to_mkldnn(), y.to_mkldnn()).to_dense(), x + y)
