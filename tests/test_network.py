"""The torch network is what the plan says and what one would write by hand."""

import copy
import json
import math
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch
from generated_specs import SPECS
from helpers import SHIPPED, WALK, experiment_of, graph_of, network_of
from hypothesis import given, settings
from torch import fx, nn
from torch.nn import functional as F
from torch.onnx import OnnxExporterError
from torch.utils.flop_counter import FlopCounterMode

from dlx.graph import trace
from dlx.init import INITIALIZERS
from dlx.network import build
from dlx.spec import load

SMALL = """
- conv: {out_channels: 4, kernel_size: 3, padding: 1}
  name: stem
- residual: {layers: [{conv: {out_channels: 4, kernel_size: 3, padding: 1}}, relu], after: tanh}
  name: stage
- global_avg_pool
- linear: 2
"""


def batch(graph, n=2):
    """Random samples for every input."""
    return [torch.randn(n, *x) for x in graph.inputs.values()]


def agree(network, by_hand, names, *xs):
    """Both compute the same once `by_hand` has the weights of `network`; `names` maps its modules to nodes."""
    weights = network.state_dict()
    renamed = {}
    for key in by_hand.state_dict():
        module, _, tensor = key.rpartition(".")
        renamed[key] = weights.pop(f"{names[module]}.{tensor}")
    assert not weights
    by_hand.load_state_dict(renamed)
    torch.testing.assert_close(network.eval()(*xs), by_hand.eval()(*xs), rtol=1e-6, atol=1e-6)


# --- one module, readable code --------------------------------------------------------------------------------------


def test_a_network_is_one_graph_module_whose_code_reads_like_the_spec():
    network = build(network_of("{image: [1, 8, 8]}", SMALL))

    assert isinstance(network, fx.GraphModule)
    assert [type(m).__name__ for m in network.modules()].count("GraphModule") == 0
    assert type(network).__name__ == "Network"
    lines = [line.split(";")[0].strip() for line in network.code.strip().splitlines()]
    assert lines == [
        "def forward(self, image):",
        "stem = self.stem(image)",
        "stage_conv_1 = self.stage.conv_1(stem)",
        "stage_relu_1 = self.stage.relu_1(stage_conv_1)",
        "stage_add_1 = self.stage.add_1(stem, stage_relu_1)",
        "stage_tanh_1 = self.stage.tanh_1(stage_add_1)",
        "global_avg_pool_1 = self.global_avg_pool_1(stage_tanh_1)",
        "linear_1 = self.linear_1(global_avg_pool_1)",
        "return linear_1",
    ]


def test_parameters_are_called_after_their_nodes():
    network = build(network_of("{image: [1, 8, 8]}", SMALL))

    assert [name for name, _ in network.named_parameters()] == [
        "stem.weight",
        "stem.bias",
        "stage.conv_1.weight",
        "stage.conv_1.bias",
        "linear_1.weight",
        "linear_1.bias",
    ]
    assert isinstance(network.stage.conv_1, nn.Conv2d)


def test_names_that_only_differ_in_their_scopes_stay_apart():
    layers = """
        - layers: [{relu: , name: b_c}]
          name: a
        - layers: [{tanh: , name: c}]
          name: a_b
        - relu:
          name: a_b_c
    """
    graph = network_of("[3]", layers)
    x = torch.randn(2, 3)

    assert [n.name for n in graph.nodes] == ["a/b_c", "a_b/c", "a_b_c"]
    assert torch.equal(build(graph)(x), x.relu().tanh().relu())


@pytest.mark.parametrize("word", ["max", "torch", "device", "inf", "print", "x1", "conv_7", "weight", "bias"])
def test_a_node_may_be_called_anything_else(word):
    network = build(network_of("[3]", f"- {{linear: 2, name: {word}}}\n- relu"))

    assert network(torch.zeros(1, 3)).shape == (1, 2)
    assert f"{word}.weight" in network.state_dict()


def test_several_inputs_come_in_their_order_and_several_outputs_as_a_dict():
    graph = graph_of(
        """
        network:
          inputs: {image: [3, 8, 8], scale: [1]}
          layers:
            - layers: [flatten, {linear: 4}]
              name: head
              from: image
            - multiply:
              from: [head, scale]
          outputs: {scaled: multiply_1, head: head, raw: scale}
        """
    )
    network, (image, scale) = build(graph), batch(graph)
    out = network(image, scale)

    assert list(out) == ["scaled", "head", "raw"]
    assert torch.equal(out["scaled"], network.head.linear_1(image.flatten(1)) * scale)
    assert out["raw"] is scale


def test_a_network_can_be_copied_saved_and_loaded(tmp_path):
    graph = network_of("[1, 8, 8]", SMALL)
    network, (x,) = build(graph).eval(), batch(graph)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = build(graph).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))

    assert torch.equal(copy.deepcopy(network)(x), network(x))
    assert torch.equal(other(x), network(x))


# --- the same network by hand ---------------------------------------------------------------------------------------


def test_lenet_is_the_one_written_by_hand():
    graph = trace(load(SHIPPED["digits/lenet"]))
    by_hand = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(6, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    names = {"0": "conv_1", "2": "conv_2", "6": "linear_1", "8": "linear_2", "10": "linear_3"}

    agree(build(graph), by_hand, names, *batch(graph))


class Projected(nn.Module):
    """A bottleneck as torchvision writes it, with a projection on its shortcut."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv3, self.bn3 = nn.Conv2d(4, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.downsample = nn.Sequential(nn.Conv2d(3, 16, 1, stride=2, bias=False), nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out)) + self.downsample(x)
        return self.fc(F.relu(out).mean((2, 3)))


def test_a_residual_network_is_the_one_written_by_hand():
    blocks = load(SHIPPED["cs231n/resnet50"]).root.at("blocks").plain()
    layers = [{"bottleneck": {"width": 4, "stride": 2}}, "global_avg_pool", {"linear": 5}]
    spec = {
        "vars": {"widen": 1, "groups": 1},
        "blocks": blocks,
        "network": {"inputs": [3, 9, 9], "layers": layers},
    }
    graph = trace(experiment_of(json.dumps(spec)))
    block = "bottleneck_1"
    names = {"downsample.0": f"{block}.conv_4", "downsample.1": f"{block}.batch_norm_4", "fc": "linear_1"}
    for n in (1, 2, 3):
        names |= {f"conv{n}": f"{block}.conv_{n}", f"bn{n}": f"{block}.batch_norm_{n}"}
    network = build(graph)
    network(*batch(graph, 8))  # running averages that are not those of a fresh network

    agree(network, Projected(), names, *batch(graph))


class Inception(nn.Module):
    """An inception block as its paper draws it."""

    def __init__(self):
        super().__init__()

        def unit(channels, out, kernel):
            norm = nn.BatchNorm2d(out, eps=1e-3)
            return nn.Sequential(nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False), norm, nn.ReLU())

        self.one = unit(8, 4, 1)
        self.three = nn.Sequential(unit(8, 2, 1), unit(2, 3, 3))
        self.five = nn.Sequential(unit(8, 1, 1), unit(1, 2, 3))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(8, 5, 1))

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def test_an_inception_block_is_the_one_written_by_hand():
    blocks = load(SHIPPED["cs231n/googlenet"]).root.at("blocks").plain()
    call = {"one": 4, "reduce3": 2, "three": 3, "reduce5": 1, "five": 2, "pool": 5}
    spec = {"blocks": blocks, "network": {"inputs": [8, 7, 7], "layers": [{"inception": call}]}}
    graph = trace(experiment_of(json.dumps(spec)))
    units = ["one", "three.0", "three.1", "five.0", "five.1", "pool.1"]
    names = {}
    for n, unit in enumerate(units, start=1):
        names |= {f"{unit}.0": f"inception_1.unit_{n}.conv_1", f"{unit}.1": f"inception_1.unit_{n}.batch_norm_1"}
    network = build(graph)
    network(*batch(graph, 8))

    agree(network, Inception(), names, *batch(graph))


# --- the plan and torch ---------------------------------------------------------------------------------------------


def weights_agree(graph, network):
    """Parameters and buffers of every node, by name and shape, and their totals."""
    planned, buffered = {}, {}
    for node in graph.nodes:
        if not node.owner:
            prefix = node.name.replace("/", ".")
            planned |= {f"{prefix}.{name}": tuple(shape) for name, shape in node.plan.weights.items()}
            buffered |= {f"{prefix}.{name}": tuple(shape) for name, shape in node.plan.buffers.items()}
    assert {name: tuple(p.shape) for name, p in network.named_parameters()} == planned
    assert {name: tuple(b.shape) for name, b in network.named_buffers()} == buffered
    assert sum(p.numel() for p in network.parameters()) == graph.params
    assert sum(b.numel() for b in network.buffers()) == graph.buffers
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == graph.trainable


class Watched(fx.Interpreter):
    """Runs a network and keeps the shape of every node's output."""

    def __init__(self, network):
        super().__init__(network)
        self.shapes = []

    def call_module(self, target, args, kwargs):
        y = super().call_module(target, args, kwargs)
        self.shapes.append(tuple(y.shape[1:]))
        return y


def outputs_agree(graph, network):
    """The shape of every node, and the MACs that torch counts."""
    watched = Watched(network.eval())
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        watched.run(*(torch.empty(1, *x, device="meta") for x in graph.inputs.values()))

    assert watched.shapes == [tuple(node.shape) for node in graph.nodes]
    assert flops.get_total_flops() == 2 * graph.macs


def on_meta(experiment, graph):
    with torch.device("meta"):
        return build(graph, experiment.init)


@pytest.mark.parametrize("name", WALK)
def test_a_shipped_network_has_the_weights_of_its_plan(name):
    experiment = load(SHIPPED[name])
    graph = trace(experiment)

    weights_agree(graph, on_meta(experiment, graph))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@settings(max_examples=25, deadline=None)
@given(SPECS)
def test_any_network_is_what_its_plan_says(spec):
    experiment = experiment_of(json.dumps(spec))
    graph = trace(experiment)
    network = on_meta(experiment, graph)

    weights_agree(graph, network)
    outputs_agree(graph, network)


# --- shared, tied, given and frozen weights -------------------------------------------------------------------------


def test_a_shared_layer_is_the_same_tensor_each_time():
    graph = network_of("[4]", "- {linear: 4, name: step}\n- tanh\n- share: step\n- share: step")
    network, (x,) = build(graph), batch(graph)
    y = network(x)
    y.sum().backward()

    assert [name for name, _ in network.named_parameters()] == ["step.weight", "step.bias"]
    assert network.code.count("self.step(") == 3
    torch.testing.assert_close(y, network.step(network.step(network.step(x).tanh())))
    before = network.step.weight.grad.clone()
    network.step.weight.grad = None
    network.step(network.step(network.step(x).tanh())).sum().backward()
    torch.testing.assert_close(network.step.weight.grad, before)


def test_a_shared_scope_computes_the_same_on_another_input():
    layers = """
        - layers:
            - conv: {out_channels: 2, kernel_size: 3}
            - relu
            - conv: {out_channels: 3, kernel_size: 3}
          name: tower
          from: left
        - {share: tower, from: right, name: twin}
    """
    graph = network_of("{left: [1, 9], right: [1, 9]}", layers, outputs="{a: tower, b: twin}")
    network, x = build(graph), torch.randn(2, 1, 9)
    out = network(x, x)

    assert torch.equal(out["a"], out["b"])
    assert [name for name, _ in network.named_parameters()] == [
        f"tower.{conv}.{tensor}" for conv in ("conv_1", "conv_2") for tensor in ("weight", "bias")
    ]
    weights_agree(graph, network)


def test_a_tied_layer_runs_the_transposed_weight():
    graph = network_of("[6]", "- {linear: 4, name: encoder}\n- tanh\n- {linear: 6, tie: encoder, name: decoder}")
    network, (x,) = build(graph), batch(graph)
    by_hand = F.linear(network.encoder(x).tanh(), network.encoder.weight.T, network.decoder.bias)

    torch.testing.assert_close(network(x), by_hand)
    assert [name for name, _ in network.named_parameters()] == ["encoder.weight", "encoder.bias", "decoder.bias"]
    weights_agree(graph, network)
    outputs = copy.deepcopy(network)(x)
    torch.testing.assert_close(outputs, by_hand)


def test_a_tied_layer_can_be_run_again():
    layers = (
        "- {linear: 4, name: encoder}\n- {linear: 6, tie: encoder, name: decoder}\n- share: encoder\n- share: decoder"
    )
    graph = network_of("[6]", layers)
    network, (x,) = build(graph), batch(graph)

    def once(h):
        return F.linear(network.encoder(h), network.encoder.weight.T, network.decoder.bias)

    torch.testing.assert_close(network(x), once(once(x)))
    weights_agree(graph, network)


def test_values_of_the_spec_are_set():
    layers = """
        - linear: 2
          values: {weight: [[1, 2, 3], [4, 5, 6]], bias: [-1, 0.5]}
        - batch_norm:
          values: {running_mean: [1, 2], weight: 2}
    """
    graph = network_of("[3]", layers)
    network = build(graph, INITIALIZERS["he_normal"]()).eval()

    assert network.linear_1.weight.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert network.linear_1.bias.tolist() == [-1, 0.5]
    assert network.batch_norm_1.running_mean.tolist() == [1, 2]
    assert network.batch_norm_1.weight.tolist() == [2, 2]
    assert all(p.requires_grad for p in network.parameters())
    y = network(torch.ones(1, 3))
    torch.testing.assert_close(y, 2 * (torch.tensor([[5.0, 15.5]]) - torch.tensor([1.0, 2.0])) / math.sqrt(1 + 1e-5))


def test_frozen_weights_get_no_gradient():
    graph = network_of(
        "[4]", "- {linear: 4, name: stem}\n- batch_norm\n- {share: stem}\n- linear: 2", "freeze: [stem, batch*]"
    )
    network, (x,) = build(graph), batch(graph)
    network(x).sum().backward()

    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"linear_1.weight", "linear_1.bias"}
    assert {name for name, p in network.named_parameters() if p.grad is not None} == {
        "linear_1.weight",
        "linear_1.bias",
    }
    assert graph.trainable == 10
    weights_agree(graph, network)


# --- initial weights ------------------------------------------------------------------------------------------------

FAN_IN, FAN_OUT = 32 * 9, 96 * 9
STD = {
    ("he_normal", "fan_in"): math.sqrt(2 / FAN_IN),
    ("he_normal", "fan_out"): math.sqrt(2 / FAN_OUT),
    ("he_uniform", "fan_in"): math.sqrt(2 / FAN_IN),
    ("he_uniform", "fan_out"): math.sqrt(2 / FAN_OUT),
    ("glorot_normal", None): math.sqrt(2 / (FAN_IN + FAN_OUT)),
    ("glorot_uniform", None): math.sqrt(2 / (FAN_IN + FAN_OUT)),
    ("default", None): math.sqrt(1 / (3 * FAN_IN)),
}


@pytest.mark.parametrize(("kind", "mode"), STD, ids=str)
def test_an_initialiser_gives_weights_its_spread_and_biases_zero(kind, mode):
    graph = network_of(
        "[32, 8, 8]", "- conv: {out_channels: 96, kernel_size: 3}\n- batch_norm\n- flatten\n- linear: 5"
    )
    torch.manual_seed(0)
    network = build(graph, INITIALIZERS[kind](**({"mode": mode} if mode else {})))
    weight = network.conv_1.weight

    assert weight.std().item() == pytest.approx(STD[kind, mode], rel=0.03)  # 27,648 values: 0.4 % is one sigma
    assert abs(weight.mean().item()) < 4 * STD[kind, mode] / math.sqrt(weight.numel())
    if "normal" in kind:
        assert weight.abs().max() > 3 * STD[kind, mode]
    else:
        assert weight.abs().max() <= math.sqrt(3) * STD[kind, mode]
    for bias in (network.conv_1.bias, network.linear_1.bias):
        assert (bias == 0).all() == (kind != "default")
    assert (network.batch_norm_1.weight == 1).all()
    assert (network.batch_norm_1.bias == 0).all()


def by_hand_in_order():
    return [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Linear(144, 3)]


SEEDED = """
- conv: {out_channels: 4, kernel_size: 3}
- batch_norm
- conv: {out_channels: 4, kernel_size: 1}
- flatten
- linear: 3
"""


def test_the_same_seed_gives_the_weights_of_torch_s_modules_made_in_that_order():
    torch.manual_seed(7)
    by_hand = [p for module in by_hand_in_order() for p in module.parameters()]
    torch.manual_seed(7)
    network = build(network_of("[1, 8, 8]", SEEDED))

    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), by_hand, strict=True))


def test_an_initialiser_draws_after_all_modules_are_made():
    torch.manual_seed(7)
    modules = by_hand_in_order()
    for module in (modules[0], modules[2], modules[3]):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.manual_seed(7)
    network = build(network_of("[1, 8, 8]", SEEDED), INITIALIZERS["he_normal"]())

    for node, module in zip(["conv_1", "conv_2", "linear_1"], (modules[0], modules[2], modules[3]), strict=True):
        assert torch.equal(network.get_submodule(node).weight, module.weight)


def test_another_seed_gives_other_weights():
    graph = network_of("[1, 8, 8]", SEEDED)
    weights_by_seed = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights_by_seed.append(build(graph).conv_1.weight)

    assert torch.equal(weights_by_seed[0], weights_by_seed[1])
    assert not torch.equal(weights_by_seed[0], weights_by_seed[2])


# --- for other tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", ["{logits: out}", "{logits: out, features: map}"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_network_names_its_inputs_and_outputs_for_onnx(outputs, tmp_path):
    """The exporter takes the graph of any module for TorchScript's; without `onnx` it stops at writing the file."""
    layers = "- {conv: {out_channels: 4, kernel_size: 3}, name: map}\n- flatten\n- {linear: 2, name: out}"
    graph = network_of("{image: [1, 8, 8]}", layers, outputs=outputs)
    network = build(graph).eval()

    for one in (network, copy.deepcopy(network)):
        assert [each.name for each in one.graph.inputs()] == ["image"]
        assert [each.name for each in one.graph.outputs()] == list(graph.outputs)
        with nullcontext() if find_spec("onnx") else pytest.raises(OnnxExporterError, match="onnx is not installed"):
            torch.onnx.export(
                one,
                tuple(batch(graph)),
                str(tmp_path / "network.onnx"),
                dynamo=False,
                input_names=["image"],
                dynamic_axes={"image": {0: "n"}},
            )
