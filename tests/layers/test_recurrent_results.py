"""States and cells that recurrent layers end in, as nodes; and wrappers of weights around such layers."""

import pytest
import torch
import torch.nn.functional as F
from complaints import layers_report, lines
from helpers import network_of
from torch import nn

from dlx.layers import LAYERS
from dlx.network import build
from dlx.shapes import Shape

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
PAIR = """
- {KIND: OPTIONS, from: source, name: encoder}
- {KIND: OPTIONS, from: {input: target, h_0: encoder.state}, name: decoder}
- linear: 2
"""
INPUTS = "{source: [7, 5], target: [4, 3]}"


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}, {"return_sequences": False}])
def test_a_decoder_begins_at_the_state_that_the_encoder_ends_in(kind, options):
    written = "{hidden_size: 6, " + ", ".join(f"{k}: {str(v).lower()}" for k, v in options.items()) + "}"
    graph = network_of(INPUTS, PAIR.replace("KIND", kind).replace("OPTIONS", written))
    assert [node.name for node in graph.nodes] == ["encoder", "encoder.state", "decoder", "linear_1"]
    sizes = {key: value for key, value in options.items() if key != "return_sequences"}
    encoder, decoder = (TORCH[kind](c, 6, batch_first=True, **sizes) for c in (5, 3))
    network = build(graph)
    encoder.load_state_dict(network.encoder.state_dict())
    decoder.load_state_dict(network.decoder.state_dict())
    source, target = torch.randn(2, 7, 5), torch.randn(2, 4, 3)

    last = encoder(source)[1]
    begin = (last[0], torch.zeros_like(last[1])) if kind == "lstm" else last
    y, end = decoder(target, begin)
    if not options.get("return_sequences", True):
        y = (end[0] if kind == "lstm" else end)[-1]
    expected = network.linear_1(y)
    torch.testing.assert_close(network(source, target), expected)
    assert (expected - network(torch.zeros_like(source), target)).abs().max() > 1e-4
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    assert graph.by_name["encoder.state"].shape == ((rows, 6) if rows > 1 else (6,))
    assert graph.params == sum(p.numel() for p in network.parameters())


def test_cells_are_taken_too_and_outputs_may_name_results():
    graph = network_of(
        INPUTS,
        """
        - {lstm: {hidden_size: 6, proj_size: 4, num_layers: 2}, from: source, name: encoder}
        - lstm: {hidden_size: 6, proj_size: 4, num_layers: 2}
          from: [target, encoder.state, encoder.cell]
          name: decoder
        """,
        outputs="{y: decoder, state: decoder.state, cell: decoder.cell}",
    )
    assert [tuple(graph.by_name[f"encoder.{key}"].shape) for key in ("state", "cell")] == [(2, 4), (2, 6)]
    network = build(graph)
    encoder, decoder = (nn.LSTM(c, 6, 2, proj_size=4, batch_first=True) for c in (5, 3))
    encoder.load_state_dict(network.encoder.state_dict())
    decoder.load_state_dict(network.decoder.state_dict())
    source, target = torch.randn(2, 7, 5), torch.randn(2, 4, 3)
    got = network(source, target)
    y, (h, c) = decoder(target, encoder(source)[1])
    for name, value in {"y": y, "state": h.transpose(0, 1), "cell": c.transpose(0, 1)}.items():
        torch.testing.assert_close(got[name], value)
    assert not [key for key in network.state_dict() if "state" in key]


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
def test_own_activations_end_in_states_too(activation):
    options = f"{{hidden_size: 6, num_layers: 2, bidirectional: true, nonlinearity: {activation}}}"
    graph = network_of("[7, 5]", f"- {{rnn: {options}, name: a}}\n- {{relu: , from: a.state}}")
    network, x = build(graph), torch.randn(2, 7, 5)
    (y,) = (network.a.output(network.a(x)),)
    states = network.a.state(network.a(x))
    assert states.shape == (2, 4, 6)
    torch.testing.assert_close(states[:, 2], y[:, -1, :6])
    torch.testing.assert_close(states[:, 3], y[:, 0, 6:])


def test_a_shared_layer_has_results_of_each_of_its_runs():
    graph = network_of(
        "{left: [7, 5], right: [4, 5]}",
        """
        - {gru: 6, from: left, name: a}
        - {share: a, from: right, name: b}
        - {subtract: , from: [a.state, b.state]}
        """,
    )
    network = build(graph)
    own = nn.GRU(5, 6, batch_first=True)
    own.load_state_dict(network.a.state_dict())
    left, right = torch.randn(2, 7, 5), torch.randn(2, 4, 5)
    torch.testing.assert_close(network(left, right), own(left)[1][0] - own(right)[1][0])
    assert graph.params == sum(p.numel() for p in own.parameters())


def test_a_layer_whose_results_nobody_takes_is_as_before():
    torch.manual_seed(0)
    plain = build(network_of("[7, 5]", "- lstm: 6\n- select: -1"))
    torch.manual_seed(0)
    taken = build(network_of("[7, 5]", "- {lstm: 6, name: lstm_1}\n- {identity: , from: lstm_1.state}"))
    x = torch.randn(2, 7, 5)
    assert not plain.lstm_1.packs
    torch.testing.assert_close(plain(x), taken(x), rtol=0, atol=0)
    assert "output" not in plain.code


def test_results_that_are_not_there_say_so(tmp_path):
    layers = """
    - {gru: 6, name: memory}
    - {relu: , from: memory.cell}
    - {relu: , from: memory, name: last}
    - {relu: , from: last.state}
    - {relu: , from: input.state}
    - {relu: , from: memroy.state}
    - {share: memory.state}
    """
    report = layers_report(tmp_path, layers, "[7, 5]")
    assert report == lines(
        """
        s.yaml:5:16  network.layers.relu_1
          `memory` (line 4) is of kind `gru`, which gives `state` beside its output, and no `cell`
        s.yaml:7:16  network.layers.relu_2
          `last` (line 6) is of kind `relu`, which has no result `state`
          Recurrent layers have a `state`, and those of kind `lstm` a `cell`.
        s.yaml:8:16  network.layers.relu_3
          `input` is an input, and has no `state`
          Recurrent layers have a `state`.
        s.yaml:9:16  network.layers.relu_4
          there is no node `memroy` above this one
          Did you mean `memory`?
        s.yaml:10:8  network.layers.share_1
          there is no node `memory.state` above this one
          Did you mean `memory`?
        """
    )


def test_the_plan_of_a_state_sees_the_whole_sequence_and_costs_nothing():
    graph = network_of("[7, 5]", "- {gru: 6, name: a}\n- {linear: 2, from: a.state}")
    node = graph.by_name["a.state"]
    assert (node.kind, node.params, node.plan.macs, node.receptive_field) == ("gru.state", 0, 0, "global")
    assert graph.as_json()["layers"][1]["name"] == "a.state"


# --- wrappers of weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TORCH)
def test_weight_norm_and_drop_connect_reach_recurrent_layers(kind):
    x, shape = torch.randn(2, 5, 3), Shape((5, 3))
    normed = LAYERS["weight_norm"].model_validate({"layer": {kind: 4}, "name": "weight_hh_l0"})
    plan, module = normed.plan(shape), normed.module(shape)
    with torch.no_grad():
        module.parametrizations.weight_hh_l0.original0.mul_(3)
    theirs = TORCH[kind](3, 4, batch_first=True)
    own = {name: p for name, p in module.named_parameters() if "." not in name}
    theirs.load_state_dict(own | {"weight_hh_l0": module.weight_hh_l0.detach()})
    torch.testing.assert_close(module(x), theirs(x)[0])
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == dict(plan.weights)

    dropped = LAYERS["drop_connect"].model_validate({"layer": {kind: 4}, "p": 0.5}).module(shape)
    torch.manual_seed(0)
    y = dropped(x)
    torch.manual_seed(0)
    weights = {n: F.dropout(p, 0.5) if p.dim() > 1 else p for n, p in dropped.layer.named_parameters()}
    theirs.load_state_dict(weights)
    torch.testing.assert_close(y, theirs(x)[0])
    assert (y - dropped.eval()(x)).abs().max() > 1e-3
